import numpy as np
import pytest
from PIL import Image

from resnest import get_spec
from resnest import weights as weight_files
from resnest.weights.seeded import draw_weights
from tests.support.cli import run


@pytest.mark.parametrize(
    "how", [["--mode", "whole"], ["--mode", "slide", "--window", "16", "--stride", "10", "--flip"]]
)
def test_segment_writes_an_overlay_and_a_label_map(folder, tmp_path, backend, how):
    image = folder / "images" / "0.png"
    found = run(
        "segment", image, "--weights", folder / "tiny.npz", "--backend", backend.name, "-o", tmp_path / "a.png", *how
    )
    assert found.exit_code == 0, found.output
    labels = np.asarray(Image.open(tmp_path / "a.labels.png"))
    assert labels.shape == (40, 56)
    assert Image.open(tmp_path / "a.png").width >= 56
    assert "class" in found.output
    if how == ["--mode", "whole"]:
        assert np.mean(labels == np.asarray(Image.open(folder / "labels" / "0.png"))) > 0.99


def test_segment_at_another_size_labels_every_pixel_of_the_photo(folder, tmp_path):
    found = run(
        "segment", folder / "images" / "1.png", "--weights", folder / "tiny.npz", "--size", 64, "-o", tmp_path / "a.png"
    )
    assert found.exit_code == 0, found.output
    assert Image.open(tmp_path / "a.labels.png").size == (56, 40)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "fcn_resnest101_cityscapes"], "tell 21 classes apart and fcn_resnest101_cityscapes 19"),
        (["--model", "fcn_resnest"], "there is no segmentation model called 'fcn_resnest'"),
        (["--mode", "slide"], "is smaller than the window of 512"),
    ],
)
def test_bad_input_is_one_sentence(folder, tmp_path, words, message):
    output = ["-o", tmp_path / "a.png"]
    found = run("segment", folder / "images" / "0.png", "--weights", folder / "tiny.npz", *output, *words)
    assert found.exit_code == 2
    assert message in " ".join(found.output.split())
    assert not list(tmp_path.iterdir())


def test_a_classification_checkpoint_is_refused(folder, tmp_path):
    weight_files.save(draw_weights(get_spec("resnest14", bottleneck_width=8, stem_width=8)), tmp_path / "a.npz")
    for model in ([], ["--model", "fcn_resnest101_voc"]):
        found = run("segment", folder / "images" / "0.png", "--weights", tmp_path / "a.npz", *model)
        assert found.exit_code == 2
        assert "segmentation network" in " ".join(found.output.split())
