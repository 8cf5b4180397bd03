"""INT8 is as right as the photos that it was calibrated on."""

import numpy as np
import onnx
import pytest
from PIL import Image

from resnest.jobs.export.files import export
from resnest.jobs.export.int8 import measure, quantize
from resnest.specs.protocols import DEFAULT, preparation
from resnest.weights.seeded import draw_weights
from tests.support.cli import refused, run
from tests.support.specs import tiny

pytestmark = pytest.mark.torch  # an export is compared with PyTorch's prediction


def save_photos(folder, *pictures):
    paths = [folder / f"{number}.png" for number in range(len(pictures))]
    for path, pixels in zip(paths, pictures):
        Image.fromarray(pixels).resize((80, 80)).save(path)
    return paths


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("int8")
    export(tiny(deploy=True), draw_weights(tiny()), folder / "tiny.onnx", "onnx")
    (folder / "black").mkdir()
    rng = np.random.default_rng(0)
    photos = save_photos(folder, *(rng.integers(0, 256, (10, 12, 3), np.uint8) for _ in range(3)))
    black = save_photos(folder / "black", np.zeros((10, 12, 3), np.uint8))
    return folder / "tiny.onnx", photos, black


def test_calibrated_on_the_photos_it_errs_less_than_on_black_ones(files, tmp_path):
    path, photos, black = files
    right = quantize(path, tmp_path / "right.onnx", photos, 64)
    quantize(path, tmp_path / "wrong.onnx", black, 64)
    wrong = measure(path, tmp_path / "wrong.onnx", photos, 64)
    assert right.relative < 0.03 < 0.06 < wrong.relative
    assert right.photos == 3
    assert right == measure(path, tmp_path / "right.onnx", photos, 64)


def test_the_file_says_how_it_was_made(files, tmp_path):
    path, photos, _ = files
    for how in (64, preparation(DEFAULT, 64, "")):
        quantize(path, tmp_path / "a.onnx", photos, how)
        told = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
        assert told["calibrated_on"] == (
            "3 photos (0.png, 1.png, 2.png): the centred square of 64 / 96 of its short side, resized (bicubic)"
        )
        assert "per channel int8 weights" in told["int8"]
        assert told["model"] == "tiny"


def test_a_file_is_as_right_as_itself(files):
    path, photos, _ = files
    exact = measure(path, path, photos, 64)
    assert (exact.photos, exact.relative, exact.same_class) == (3, 0, 1)


def test_there_is_nothing_to_calibrate_on_without_photos(files, tmp_path):
    with pytest.raises(ValueError, match=r"INT8 needs photos to calibrate on: give a folder with some \(\.jpg"):
        quantize(files[0], tmp_path / "a.onnx", [], 64)
    assert not list(tmp_path.iterdir())


def test_what_int8_is_calibrated_on_is_a_folder(tmp_path):
    (photo,) = save_photos(tmp_path, np.zeros((10, 12, 3), np.uint8))
    command = ["export", "resnest14", "--format", "onnx", "--int8", photo, "--output", tmp_path / "a.onnx"]
    assert "is no folder, as a folder of photos is" in refused(run(*command))
