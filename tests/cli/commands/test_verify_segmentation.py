import subprocess
import sys

import pytest
from PIL import Image

from tests.support.cli import run

pytestmark = pytest.mark.torch  # the commands' own backend


def test_a_network_is_right_about_its_own_label_maps(folder):
    found = run("verify-segmentation", folder / "images", folder / "labels", "--weights", folder / "tiny.npz")
    assert found.exit_code == 0, found.output
    assert "3 photos: mean IoU 100.00, pixel accuracy 100.00" in " ".join(found.output.split())


def test_two_processes_count_what_one_does(folder):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "resnest", "verify-segmentation", "images", "labels", "--weights", "tiny.npz"]
    done = subprocess.run([*torchrun, *command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 photos: mean IoU 100.00") == 1


def test_a_photo_without_a_label_map_is_named(folder, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "lonely.png")
    found = run("verify-segmentation", tmp_path, folder / "labels", "--weights", folder / "tiny.npz")
    assert found.exit_code == 2
    assert "lonely.png has no label map" in " ".join(found.output.split())
