import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import resnest
from resnest import get_spec, weights
from resnest.cli import main
from resnest.weights.fold import fold
from resnest.weights.seeded import draw_weights
from tests.support.paths import REPOSITORY
from tests.support.specs import tiny
from tests.support.without import run_without


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result):
    """The one sentence that bad input was answered with."""
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("Error: ")
    return result.stderr


def test_list_shows_every_network():
    output = run("list").output
    assert all(name in output for name in resnest.list_models())
    assert "110.9 M" in output
    assert "77.3 G" in output


def test_info_shows_stages_shapes_and_costs():
    output = run("info", "resnest50", "--size", 256).output
    assert "2048x8x8" in output
    assert "27,483,240" in output
    assert f"{get_spec('resnest50').cost(256).macs:,}" in output
    assert "2048x32x32" in run("info", "resnest50", "--size", 256, "--output-stride", 8).output


@pytest.mark.parametrize("command", [["list"], ["info", "resnest269"]])
def test_list_and_info_need_no_framework(command):
    done = run_without(["torch", "mxnet"], f"from resnest.cli import main; main({command!r})")
    assert "resnest269" in done.stdout


def test_the_module_runs_as_the_command():
    done = subprocess.run([sys.executable, "-m", "resnest", "--version"], capture_output=True, text=True, check=True)
    assert resnest.__version__ in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["info", "resnest5O"], "no model called 'resnest5O'; did you mean resnest50"),
        (
            ["info", "resnest50", "--size", "16"],
            "16x16 pixels is too small for resnest50 at output stride 32: give at least 17x17",
        ),
        (["info", "resnest50", "--output-stride", "12"], "output_stride=12 must be 32, 16 or 8"),
        (["convert", "nowhere.pth", "b.params"], "no weight file nowhere.pth"),
        (["convert", "a.params", "b.bin"], "b.bin has no suffix of a weight file"),
        (["parity", "resnest51"], "no model called 'resnest51'"),
        (["parity", "resnest50", "--size", "8"], "8x8 pixels is too small"),
        (["parity", "fcn_resnest101_voc", "--deploy"], "the deploy form goes with a classifier"),
        (["parity", "resnest50", "--image", "nowhere.jpg"], "no photo nowhere.jpg"),
        (["parity", "resnest50", "--weights", "nowhere.npz"], "no weight file nowhere.npz"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(arguments, sentence):
    assert sentence in refused(run(*arguments))


def test_a_photo_that_is_none_is_one_sentence(tmp_path):
    (tmp_path / "a.jpg").write_text("text")
    assert "a.jpg is no photo" in refused(run("parity", "resnest50", "--image", tmp_path / "a.jpg"))


def test_convert_converts_and_says_what(tmp_path):
    weights.save(draw_weights(tiny()), tmp_path / "a.npz")
    result = run("convert", tmp_path / "a.npz", tmp_path / "b.params", "--dialect", "torch")
    assert result.exit_code == 0
    assert "tensors" in result.output
    assert weights.dialect_of(tmp_path / "b.params") == "torch"


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
    assert (failed.returncode, failed.stderr) == (2, "Error: there is no weight file x.npz\n")


@pytest.mark.gluon
def test_parity_shows_each_stage():
    result = run("parity", "resnest14", "--size", 64, "--dtype", "float64", "--output-stride", 16)
    assert result.exit_code == 0
    assert all(stage in result.output for stage in ("stem", "layer1", "layer4", "logits", "1x1000"))
    assert result.output.count("same") == 6


@pytest.mark.gluon
def test_parity_in_json_holds_every_tensor_of_a_training_step():
    result = run("parity", "resnest14", "--size", 64, "--dtype", "float64", "--train", "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["model"], report["size"]) == (0, "resnest14", 64)
    assert len(report["differences"]) == 6 + 1 + len(get_spec("resnest14").tensors())
    assert all(row["within"] for row in report["differences"])


@pytest.mark.gluon
def test_parity_takes_the_classes_of_a_weight_file(tmp_path):
    weights.save(draw_weights(get_spec("resnest14", num_classes=7)), tmp_path / "a.safetensors")
    result = run("parity", "resnest14", "--size", 64, "--weights", tmp_path / "a.safetensors")
    assert result.exit_code == 0
    assert "1x7" in result.output


@pytest.mark.gluon
def test_parity_compares_the_deploy_form(tmp_path):
    asked = run("parity", "resnest14", "--size", 64, "--dtype", "float64", "--deploy", "--json")
    report = json.loads(asked.stdout)
    assert (asked.exit_code, report["deploy"], len(report["differences"])) == (0, True, 6)
    weights.save(fold(draw_weights(get_spec("resnest14"))), tmp_path / "folded.npz")
    told = run("parity", "resnest14", "--size", 64, "--weights", tmp_path / "folded.npz")
    assert told.exit_code == 0
    assert "resnest14, deploy form, at 64x64" in told.output


@pytest.mark.gluon
def test_weights_of_another_network_are_one_sentence(tmp_path):
    weights.save(draw_weights(get_spec("resnest14")), tmp_path / "a.npz")
    result = run("parity", "resnest26", "--size", 64, "--weights", tmp_path / "a.npz")
    assert "not those of resnest26; missing: layer1.1.conv1.weight" in refused(result)


@pytest.mark.gluon
def test_a_broken_bound_is_status_1(monkeypatch):
    monkeypatch.setattr("resnest.jobs.parity.STAGE_BOUND", {"float32": 0.0, "float64": 0.0})
    result = run("parity", "resnest14", "--size", 64)
    assert result.exit_code == 1
    assert "differs" in result.output


@pytest.mark.parametrize("missing", ["torch", "mxnet"])
def test_parity_without_a_framework_says_what_to_install(missing):
    done = run_without([missing], "from resnest.cli import main; main(['parity', 'resnest14'])")
    assert done.returncode == 2
    assert "pip install 'resnest[" in done.stderr
    assert "Traceback" not in done.stderr


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
