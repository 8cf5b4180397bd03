import json

import pytest

from resnest import get_spec, weights
from resnest.specs.protocols import preparation
from resnest.weights.fold import fold
from resnest.weights.seeded import draw_weights
from tests.support.cli import refused, run
from tests.support.without import run_without


def test_a_photo_that_is_none_is_one_sentence(tmp_path):
    (tmp_path / "a.jpg").write_text("text")
    assert "a.jpg is no photo" in refused(run("parity", "resnest50", "--image", tmp_path / "a.jpg"))


@pytest.mark.parametrize(
    ("words", "protocol"),
    [
        ([], "authors-torch"),
        (["--weights", "mine.pth"], "authors-torch"),
        (["--weights", "resnest50-bcfefe1d.params"], "authors-gluon"),
        (["--weights", "resnest50-bcfefe1d.params", "--protocol", "timm"], "timm"),
    ],
)
def test_a_photo_is_prepared_as_the_weights_were_evaluated(words, protocol, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("mine.pth", "resnest50-bcfefe1d.params"):
        (tmp_path / name).write_text("not looked into")

    def load_image(path, how):
        raise ValueError(str(how))  # which ends the command here

    monkeypatch.setattr("resnest.data.photos.load_image", load_image)
    assert str(preparation(protocol, 224, "resnest50")) in refused(run("parity", "resnest50", *words))


@pytest.mark.torch
@pytest.mark.gluon
def test_parity_shows_each_stage():
    result = run("parity", "resnest14", "--size", 64, "--dtype", "float64", "--output-stride", 16)
    assert result.exit_code == 0
    assert all(stage in result.output for stage in ("stem", "layer1", "layer4", "logits", "1x1000"))
    assert result.output.count("same") == 6


@pytest.mark.torch
@pytest.mark.gluon
def test_parity_in_json_holds_every_tensor_of_a_training_step():
    result = run("parity", "resnest14", "--size", 64, "--dtype", "float64", "--train", "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["model"], report["size"]) == (0, "resnest14", 64)
    assert len(report["differences"]) == 6 + 1 + len(get_spec("resnest14").tensors())
    assert all(row["within"] for row in report["differences"])


@pytest.mark.torch
@pytest.mark.gluon
def test_parity_takes_the_classes_of_a_weight_file(tmp_path):
    weights.save(draw_weights(get_spec("resnest14", num_classes=7)), tmp_path / "a.safetensors")
    result = run("parity", "resnest14", "--size", 64, "--weights", tmp_path / "a.safetensors")
    assert result.exit_code == 0
    assert "1x7" in result.output


@pytest.mark.torch
@pytest.mark.gluon
def test_parity_compares_the_deploy_form(tmp_path):
    asked = run("parity", "resnest14", "--size", 64, "--dtype", "float64", "--deploy", "--json")
    report = json.loads(asked.stdout)
    assert (asked.exit_code, report["deploy"], len(report["differences"])) == (0, True, 6)
    weights.save(fold(draw_weights(get_spec("resnest14"))), tmp_path / "folded.npz")
    told = run("parity", "resnest14", "--size", 64, "--weights", tmp_path / "folded.npz")
    assert told.exit_code == 0
    assert "resnest14, deploy form, at 64x64" in told.output


@pytest.mark.torch
@pytest.mark.gluon
def test_weights_of_another_network_are_one_sentence(tmp_path):
    weights.save(draw_weights(get_spec("resnest14")), tmp_path / "a.npz")
    result = run("parity", "resnest26", "--size", 64, "--weights", tmp_path / "a.npz")
    assert "not those of resnest26; missing: layer1.1.conv1.weight" in refused(result)


@pytest.mark.torch
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


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["resnest51"], "no model called 'resnest51'"),
        (["resnest50", "--size", "8"], "8x8 pixels is too small"),
        (["resnest50", "--image", "nowhere.jpg"], "no photo nowhere.jpg"),
        (["resnest50", "--weights", "nowhere.npz"], "no weight file nowhere.npz"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(arguments, sentence):
    assert sentence in refused(run("parity", *arguments))
