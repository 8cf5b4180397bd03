"""`--which`: every command that reads a checkpoint takes the network that is asked for, and says which it took."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from resnest import weights
from resnest.weights.seeded import draw_weights
from tests.support.cli import refused, run
from tests.support.specs import tiny, tiny_detector, tiny_segmenter

SPECS = {"classifier": tiny(), "segmenter": tiny_segmenter(num_classes=21), "detector": tiny_detector()}


def shifted(arrays):
    """Other weights of the same network."""
    return {name: array * np.float32(0.5) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Checkpoints as timm writes them, with weights and their average, and the latter alone."""
    folder = tmp_path_factory.mktemp("which")
    for name, spec in SPECS.items():
        drawn = draw_weights(spec)
        parts = {"state_dict": shifted(drawn), "state_dict_ema": drawn}
        content = {key: {name: torch.from_numpy(array) for name, array in one.items()} for key, one in parts.items()}
        torch.save(content, folder / f"{name}.pth")
        weights.save(drawn, folder / f"{name}.npz")
    for part, shape in (("images", (40, 56, 3)), ("labels", (40, 56))):
        (folder / part).mkdir()
        pixels = np.random.default_rng(0).integers(0, 21, shape, np.uint8)
        Image.fromarray(pixels).save(folder / part / "0.png")
    (folder / "annotations.json").write_text("{{}}")
    (folder / "data" / "train" / "0").mkdir(parents=True)
    shutil.copy(folder / "images" / "0.png", folder / "data" / "train" / "0")
    return folder


COMMANDS = {
    "convert": (["{folder}/classifier.pth", "{folder}/out.npz"], None),
    "parity": (["resnest14"], "classifier"),
    "parity --steps": (["resnest14", "--steps", 2], "classifier"),
    "export": (["resnest14", "--format", "onnx"], "classifier"),
    "verify": (["resnest14", "--data", "{folder}"], "classifier"),
    "train": (["resnest14", "--data", "{folder}/data", "--output", "out"], "classifier"),
    "segment": (["{folder}/images/0.png"], "segmenter"),
    "verify-segmentation": (["{folder}/images", "{folder}/labels"], "segmenter"),
    "detect": (["{folder}/images/0.png"], "detector"),
    "verify-detection": (["{folder}/images", "{folder}/annotations.json"], "detector"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_reads_weights_lets_them_be_chosen(name, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, kind = COMMANDS[name]
    given = [str(word).format(folder=folder) for word in arguments]
    given += [] if kind is None else ["--weights", folder / f"{kind}.pth"]
    complaint = refused(run(name.partition(" ")[0], *given, "--which", "nobody"))
    assert "there is no 'nobody' in it to choose: there are state_dict, state_dict_ema, and" in complaint


@pytest.mark.parametrize("name", ["parity", "export", "train"])
def test_there_must_be_a_file_to_choose_in(name, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = {"export": ["--format", "onnx"], "train": ["--data", folder / "data", "--output", "out"]}.get(name, [])
    assert "which='ema' chooses within a weight file" in refused(run(name, "resnest14", *words, "--which", "ema"))
    assert list(tmp_path.iterdir()) == []


def test_convert_takes_and_verifies_the_one_that_is_asked_for(folder, tmp_path, caplog):
    expected = weights.load(folder / "classifier.npz")
    for which, wanted in ((None, expected), ("ema", expected), ("model", shifted(expected))):
        caplog.clear()
        words = ["--verify"] if which is None else ["--which", which, "--verify"]
        found = run("convert", folder / "classifier.pth", tmp_path / "a.npz", *words)
        assert found.exit_code == 0, found.output
        assert ("took the average of the weights (state_dict_ema)" in caplog.text) == (which is None)
        loaded = weights.load(tmp_path / "a.npz")
        assert all(np.array_equal(loaded[name], array) for name, array in wanted.items())


def test_segment_sees_with_the_one_that_is_asked_for(folder, tmp_path):
    seen = {}
    for name, words in {"ema": [], "model": ["--which", "model"], "alone": []}.items():
        path = folder / ("segmenter.npz" if name == "alone" else "segmenter.pth")
        outputs = ["-o", tmp_path / "a.png", "--labels", tmp_path / f"{name}.png"]
        found = run("segment", folder / "images" / "0.png", "--weights", path, *outputs, *words)
        assert found.exit_code == 0, found.output
        seen[name] = np.asarray(Image.open(tmp_path / f"{name}.png"))
    assert np.array_equal(seen["ema"], seen["alone"])
    assert not np.array_equal(seen["model"], seen["alone"])
