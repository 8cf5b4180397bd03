import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from resnest import weights as weight_files
from resnest.weights.seeded import draw_weights
from tests.support.cli import run
from tests.support.specs import tiny_detector

pytestmark = pytest.mark.torch  # the commands' own backend


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A detector's checkpoint, photos, and an annotation file that says of them what the detector finds."""
    folder = tmp_path_factory.mktemp("verify")
    weight_files.save(draw_weights(tiny_detector("mask_rcnn")), folder / "tiny.npz")
    (folder / "photos").mkdir()
    for number in range(1, 4):
        pixels = np.random.default_rng(number).integers(0, 256, (200, 280, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{number}.png")
    outputs = ["-o", folder / "drawn", "--json", folder / "found.json"]
    assert run("detect", folder / "photos", "--weights", folder / "tiny.npz", *outputs).exit_code == 0
    rows = json.loads((folder / "found.json").read_text())
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 200, "width": 280} for n in range(1, 4)],
        "annotations": [{"id": number, **row} for number, row in enumerate(rows, start=1)],
        "categories": [{"id": number, "name": str(number)} for number in range(1, 6)],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def verify(folder, *arguments):
    return run("verify-detection", folder / "photos", folder / "annotations.json", *arguments)


def test_a_detector_is_right_about_what_it_found(photos, tmp_path):
    found = verify(photos, "--weights", photos / "tiny.npz", "--json", tmp_path / "rows.json")
    assert found.exit_code == 0, found.output
    boxes = next(line.split() for line in found.output.splitlines() if line.startswith("boxes"))
    assert float(boxes[1]) > 99
    assert "masks" in found.output
    assert json.loads((tmp_path / "rows.json").read_text()) == json.loads((photos / "found.json").read_text())


def test_two_processes_count_what_one_does(photos):
    alone = verify(photos, "--weights", photos / "tiny.npz").output
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "resnest", "verify-detection", "photos", "annotations.json", "--weights", "tiny.npz"]
    done = subprocess.run([*torchrun, *command], cwd=photos, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    figures = [line for line in done.stdout.splitlines() if line.startswith(("boxes", "masks"))]
    assert figures == [line for line in alone.splitlines() if line.startswith(("boxes", "masks"))]


def test_annotations_of_other_classes_are_named(photos, tmp_path):
    content = json.loads((photos / "annotations.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(content | {"categories": content["categories"][:2]}))
    found = run("verify-detection", photos / "photos", tmp_path / "a.json", "--weights", photos / "tiny.npz")
    assert found.exit_code == 2
    assert "has 2 classes, and the network tells 5 apart" in " ".join(found.output.split())


def test_masks_are_not_judged_in_photos_of_another_size_than_is_said(photos, tmp_path):
    content = json.loads((photos / "annotations.json").read_text())
    content["annotations"] = [row | {"segmentation": [[0, 0, 9, 0, 9, 9]]} for row in content["annotations"]]
    content["images"][1]["height"] = 100
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = run("verify-detection", photos / "photos", tmp_path / "a.json", "--weights", photos / "tiny.npz")
    assert found.exit_code == 2
    assert "photo 2 is said to be 280 wide and 100 high" in " ".join(found.output.split())
