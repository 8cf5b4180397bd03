import json

import numpy as np
import pytest
from PIL import Image

from resnest import weights as weight_files
from resnest.jobs.predict.draw import LINE, TILE
from resnest.weights.seeded import draw_weights
from tests.support.cli import refused, run
from tests.support.paths import REPOSITORY
from tests.support.specs import tiny, tiny_segmenter

CAT = REPOSITORY / "resnest" / "data" / "assets" / "chelsea.jpg"

pytestmark = pytest.mark.torch  # the command's own backend


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier's and a segmenter's checkpoint."""
    folder = tmp_path_factory.mktemp("attention")
    weight_files.save(draw_weights(tiny(radix=4)), folder / "tiny.npz")
    weight_files.save(draw_weights(tiny_segmenter()), folder / "segmenter.npz")
    return folder


def test_each_stage_is_a_row_and_each_split_a_column(folder, tmp_path, backend):
    outputs = ["-o", tmp_path / "a.png", "--json", tmp_path / "a.json"]
    words = ["--weights", folder / "tiny.npz", "--size", 64, "--backend", backend.name]
    done = run("attention", CAT, *words, *outputs)
    assert done.exit_code == 0, done.output
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (5 * TILE, 4 * (TILE + LINE))
        tiles = [np.asarray(image)[LINE + row * (TILE + LINE) :][:TILE, TILE:] for row in range(4)]
    assert all(tile.std() > 5 for tile in tiles)  # something is brighter than the rest
    (row,) = json.loads((tmp_path / "a.json").read_text())
    assert [*row["shares"]] == ["layer1.0", "layer2.0", "layer2.1", "layer3.0", "layer4.0"]
    assert all(sum(shares) == pytest.approx(1) for shares in row["shares"].values())
    assert "layer2.1" in done.stdout
    assert "layer2.0" not in done.stdout  # the last block of each stage


def test_of_a_segmenter_the_backbone_looks_and_several_photos_go_into_a_folder(folder, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png", "b.attention.png"):  # the last was made last time
        Image.open(CAT).save(tmp_path / "photos" / name)
    (tmp_path / "photos" / "c.png").write_text("no photo")
    words = ["--weights", folder / "segmenter.npz", "--size", 64, "-o", tmp_path / "seen"]
    done = run("attention", tmp_path / "photos", *words)
    assert done.exit_code == 1, done.output
    assert "left out" in done.stderr
    assert sorted(path.name for path in (tmp_path / "seen").iterdir()) == ["a.attention.png", "b.attention.png"]


def test_where_no_photo_can_be_used_there_is_nothing(folder, tmp_path):
    for name in ("a.png", "a.attention.png", "b.png"):  # the second is of last time
        (tmp_path / name).write_text("no photo")
    done = run("attention", tmp_path / "a.png", tmp_path / "b.png", "--weights", folder / "tiny.npz", "--size", 64)
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (1, "nothing")


def test_bad_input_is_one_sentence(folder, tmp_path):
    words = ["attention", CAT, "--weights", folder / "tiny.npz", "-o", tmp_path / "a.png"]
    assert "--pretrained goes without --weights" in refused(run(*words, "--pretrained"))
    assert "give at least 17x17" in refused(run(*words, "--size", 8))
    assert not list(tmp_path.iterdir())
