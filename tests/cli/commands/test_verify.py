import json

import numpy as np
import pytest
from PIL import Image

from resnest import get_spec
from resnest import weights as weight_files
from resnest.weights.published import pretrained
from resnest.weights.seeded import draw_weights
from tests.support.cli import refused, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of a network for three classes, and seven images of which one is none."""
    folder = tmp_path_factory.mktemp("verify")
    weight_files.save(draw_weights(get_spec("resnest14", num_classes=3)), folder / "three.npz")
    random = np.random.default_rng(0)
    for number in range(6):
        path = folder / "val" / "abc"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (70, 64, 3), np.uint8)).save(path)
    (folder / "val" / "b" / "broken [red] :cat:.jpg").write_bytes(b"")
    return folder


def verified(folder, *options):
    words = ["--data", folder, "--weights", folder / "three.npz", "--size", 64, *options]
    return run("verify", "resnest14", *words)


@pytest.mark.torch
def test_accuracy_is_told_with_what_was_not_counted(folder):
    result = verified(folder)
    assert result.exit_code == 0, result.output
    assert "torch" in result.stdout
    assert "100.00" in result.stdout  # top-5 of three classes
    assert (
        f"not counted: {folder / 'val' / 'b' / 'broken [red] :cat:.jpg'} is no photo that can be read" in result.stdout
    )
    assert "could not be read and are in no accuracy: 1" in result.stdout


@pytest.mark.torch
@pytest.mark.gluon
def test_every_backend_is_compared_and_json_has_all_of_it(folder):
    result = verified(folder, "--compare", "--json", "--protocol", "authors-gluon")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["accuracy"]["torch"] == found["accuracy"]["gluon"]
    assert found["accuracy"]["torch"]["images"] == 6
    assert found["accuracy"]["torch"]["top5"] == 100
    assert found["disagreements"] == {}
    assert [name.endswith("broken [red] :cat:.jpg") for name in found["unreadable"]] == [True]
    assert found["published_top1"] is None
    assert "opencv-bilinear" in found["prepared"]


@pytest.mark.torch
def test_the_published_figure_stands_beside_that_of_its_own_protocol(folder, monkeypatch):
    row = next(row for row in pretrained.CHECKPOINTS if row.variant == "resnest14")
    monkeypatch.setattr(pretrained, "published_as", lambda path: row)
    own = ["--json", "--size", 224, "--batch", 3]
    assert json.loads(verified(folder, *own).stdout)["published_top1"] == row.top1
    assert json.loads(verified(folder, *own, "--protocol", "authors-torch").stdout)["published_top1"] is None
    assert json.loads(verified(folder, "--json").stdout)["published_top1"] is None


def test_what_does_not_go_together_is_refused(folder):
    assert "leave --backend gluon" in refused(verified(folder, "--compare", "--backend", "gluon"))
    assert "there is no backend 'troch'; did you mean torch?" in refused(verified(folder, "--backend", "troch"))
    assert "holds 2 classes, and the network tells 3 apart" in refused(
        run("verify", "resnest14", "--data", two(folder), "--weights", folder / "three.npz")
    )


def two(folder):
    for name in "ab":
        (folder / "two" / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / "two" / name / "x.png")
    return folder / "two"


def test_the_classes_are_those_beside_the_weights(folder, tmp_path):
    weights = tmp_path / "three.npz"
    weights.write_bytes((folder / "three.npz").read_bytes())
    (tmp_path / "classes.txt").write_text("x\na\nb\n")
    words = ["--data", folder, "--weights", weights, "--size", 64]
    assert "c is a class that was not trained on" in refused(run("verify", "resnest14", *words))
