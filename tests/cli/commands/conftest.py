"""What the commands are tried on."""

import numpy as np
import pytest
from PIL import Image

from resnest import weights as weight_files
from resnest.weights.seeded import draw_weights
from tests.support.cli import run
from tests.support.specs import tiny_segmenter


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A segmentation checkpoint, and photos with the label maps that it gives them."""
    folder = tmp_path_factory.mktemp("segment")
    weight_files.save(draw_weights(tiny_segmenter(num_classes=21)), folder / "tiny.npz")
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 56, 3), np.uint8)
        image = folder / "images" / f"{number}.png"
        Image.fromarray(pixels).save(image)
        outputs = ["-o", folder / "seen.png", "--labels", folder / "labels" / f"{number}.png"]
        assert run("segment", image, "--weights", folder / "tiny.npz", *outputs).exit_code == 0
    return folder
