import json

import numpy as np
import pytest
from PIL import Image

from resnest import weights as weight_files
from resnest.weights.seeded import draw_weights
from tests.support.cli import run
from tests.support.specs import tiny, tiny_detector

pytestmark = pytest.mark.torch  # the commands' own backend


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A detector's checkpoint and two photos."""
    folder = tmp_path_factory.mktemp("detect")
    weight_files.save(draw_weights(tiny_detector("mask_rcnn")), folder / "tiny.npz")
    (folder / "photos").mkdir()
    for number in (7, 8):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 28, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number:012}.png")
    return folder


def test_a_folder_is_drawn_and_written_in_cocos_form(photos, tmp_path):
    outputs = ["-o", tmp_path / "drawn", "--json", tmp_path / "found.json"]
    found = run("detect", photos / "photos", "--weights", photos / "tiny.npz", *outputs)
    assert found.exit_code == 0, found.output
    drawn = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert drawn == [f"{number:012}.detections.png" for number in (7, 8)]
    with Image.open(tmp_path / "drawn" / drawn[0]) as image:
        assert image.size == (28, 20)
    rows = json.loads((tmp_path / "found.json").read_text())
    assert {row["image_id"] for row in rows} == {7, 8}
    assert {row["category_id"] for row in rows} <= {1, 2, 3, 4, 5}
    assert set(rows[0]) == {"image_id", "category_id", "bbox", "score", "segmentation"}


def test_names_that_a_training_left_beside_its_weights_are_the_objects(photos, tmp_path):
    weight_files.save(draw_weights(tiny_detector()), tmp_path / "best.npz")
    names = ["ash", "elm", "fir", "oak", "yew"]
    for written in (names, names[:4]):  # the second are another network's
        (tmp_path / "classes.txt").write_text("".join(f"{name}\n" for name in written))
        options = ["-o", tmp_path / "out.png", "--threshold", "0", "--weights", tmp_path / "best.npz"]
        found = run("detect", photos / "photos" / f"{7:012}.png", *options)
        assert found.exit_code == 0, found.output
        assert any(f" {name} " in found.output for name in names) == (written == names)
        assert ("class " in found.output) == (written != names)


def test_one_photo_is_drawn_where_it_is_said(photos, tmp_path, backend):
    photo = photos / "photos" / f"{7:012}.png"
    arguments = [
        "--backend",
        backend.name,
        "--weights",
        photos / "tiny.npz",
        "-o",
        tmp_path / "out.png",
        "--threshold",
        "1",
    ]
    found = run("detect", photo, *arguments)
    assert found.exit_code == 0, found.output
    assert "nothing from 100% on" in found.output
    with Image.open(tmp_path / "out.png") as image, Image.open(photo) as before:
        assert np.array_equal(np.asarray(image), np.asarray(before))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos", "-o", "out.png"], "out.png is no folder, and there are 2 photos"),
        (["photos", "-o", "out.txt"], "out.txt has no suffix of a picture"),
        (["nowhere.jpg"], "there is no photo nowhere.jpg"),
        (["photos", "photos", "-o", "out"], "two photos would be drawn to"),
        (["empty"], "empty is empty, and no photo"),
        (["photos", "--model", "faster_rcnn_resnest50_coco"], "tiny.npz: these weights are a mask_rcnn's"),
        (
            ["photos", "--weights", "imagenet.npz"],
            "imagenet.npz: these weights are a classification network's, and a det",
        ),
    ],
)
def test_bad_input_is_one_sentence(photos, monkeypatch, arguments, message):
    monkeypatch.chdir(photos)
    (photos / "empty").mkdir(exist_ok=True)
    weight_files.save(draw_weights(tiny()), photos / "imagenet.npz")
    found = run("detect", "--weights", "tiny.npz", *arguments)
    assert found.exit_code == 2
    assert message in " ".join(found.output.split())
    assert not (photos / "out").exists()
