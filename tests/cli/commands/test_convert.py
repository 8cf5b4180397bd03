import subprocess
import sys

import pytest

from resnest import weights
from resnest.weights.seeded import draw_weights
from tests.support.cli import refused, run
from tests.support.paths import REPOSITORY
from tests.support.specs import tiny


def test_convert_converts_and_says_what(tmp_path):
    weights.save(draw_weights(tiny()), tmp_path / "a.npz")
    result = run("convert", tmp_path / "a.npz", tmp_path / "b.params", "--dialect", "torch")
    assert result.exit_code == 0
    assert "tensors" in result.output
    assert weights.dialect_of(tmp_path / "b.params") == "torch"


@pytest.mark.torch
@pytest.mark.gluon
def test_convert_can_verify_the_logits(tmp_path):
    weights.save(draw_weights(tiny()), tmp_path / "a.npz")
    result = run("convert", tmp_path / "a.npz", tmp_path / "b.params", "--verify")
    assert result.exit_code == 0
    assert "logits" in result.output
    assert "same" in result.output


def test_a_broken_source_leaves_the_target_alone(tmp_path):
    (tmp_path / "a.params").write_bytes(b"broken")
    (tmp_path / "b.npz").write_bytes(b"precious")
    assert "a.params" in refused(run("convert", tmp_path / "a.params", tmp_path / "b.npz"))
    assert (tmp_path / "b.npz").read_bytes() == b"precious"


def test_the_script_is_the_same_command(tmp_path):
    script = REPOSITORY / "tools" / "convert_weights.py"
    weights.save(draw_weights(tiny()), tmp_path / "a.npz")
    subprocess.run([sys.executable, script, tmp_path / "a.npz", tmp_path / "b.params"], check=True)
    assert weights.dialect_of(tmp_path / "b.params") == "gluon"
    failed = subprocess.run([sys.executable, script, "x.npz", "y.npz"], capture_output=True, text=True, check=False)
    assert failed.returncode == 2
    assert len(failed.stderr.splitlines()) == 1
    assert "there is no weight file x.npz" in failed.stderr


@pytest.mark.torch
@pytest.mark.gluon
@pytest.mark.parametrize("dialect", ["symbol", "openmmlab"])
def test_a_conversion_to_any_dialect_can_be_verified(dialect, tmp_path):
    weights.save(draw_weights(tiny()), tmp_path / "a.npz")
    result = run("convert", tmp_path / "a.npz", tmp_path / "b.npz", "--dialect", dialect, "--verify")
    assert result.exit_code == 0
    assert weights.dialect_of(tmp_path / "b.npz") == dialect


def test_converting_the_backbone_leaves_heads_out(tmp_path):
    import numpy as np

    np.savez(tmp_path / "a.npz", **draw_weights(tiny()), **{"head.weight": np.zeros(3)})
    assert "unknown: head.weight" in refused(run("convert", tmp_path / "a.npz", tmp_path / "b.npz"))
    assert run("convert", tmp_path / "a.npz", tmp_path / "b.npz", "--backbone").exit_code == 0
    assert weights.load(tmp_path / "b.npz").keys() == tiny(num_classes=0).tensors().keys()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.pth", "b.params"], "no weight file nowhere.pth"),
        (["a.params", "b.bin"], "b.bin has no suffix of a weight file"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.params").write_text("text")
    assert sentence in refused(run("convert", *arguments))


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_weights_are_rounded_and_the_logits_verified(tmp_path, dtype):
    drawn = draw_weights(tiny())
    weights.save(drawn, tmp_path / "a.npz")
    result = run("convert", tmp_path / "a.npz", tmp_path / "b.safetensors", "--dtype", dtype, "--verify")
    assert result.exit_code == 0, result.output
    assert "same" in result.output
    rounded = weights.load(tmp_path / "b.safetensors")
    assert all((rounded[name] == array.astype(dtype)).all() for name, array in drawn.items())
    assert {array.dtype.name for array in rounded.values()} == {dtype}


@pytest.mark.torch
def test_weights_are_rounded_to_bfloat16_and_the_logits_verified(tmp_path):
    weights.save(draw_weights(tiny()), tmp_path / "a.npz")
    result = run("convert", tmp_path / "a.npz", tmp_path / "b.safetensors", "--dtype", "bfloat16", "--verify")
    assert result.exit_code == 0, result.output
    assert "same" in result.output
    assert (tmp_path / "b.safetensors").stat().st_size < 0.6 * (tmp_path / "a.npz").stat().st_size


def test_a_weight_too_large_for_the_dtype_is_named_and_nothing_is_written(tmp_path):
    drawn = draw_weights(tiny())
    drawn["layer2.0.conv1.weight"].flat[3] = -7e4
    weights.save(drawn, tmp_path / "a.npz")
    result = run("convert", tmp_path / "a.npz", tmp_path / "b.npz", "--dtype", "float16")
    assert "layer2.0.conv1.weight holds 7e+04, and float16 has no number as large" in refused(result)
    assert not (tmp_path / "b.npz").exists()
