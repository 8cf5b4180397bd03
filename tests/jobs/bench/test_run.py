"""The benchmark's machinery; how fast anything is, no test asks."""

import importlib.util
import json

import numpy as np
import pytest

from resnest.jobs.bench import others
from resnest.jobs.bench.plot import plot
from resnest.jobs.bench.run import (
    FLOOR,
    PRECISIONS,
    Job,
    Result,
    _compare,
    _Worker,
    contenders,
    impossible,
    precision,
    report,
    run,
)
from tests.support import cli
from tests.support.paths import REPOSITORY
from tests.support.specs import tiny

JOB = Job("resnest14", size=33, threads=1)


def test_contenders_are_those_that_have_the_network():
    assert contenders(JOB, []) == [
        FLOOR,
        "resnest.torch",
        "resnest.torch nchw",
        "resnest.torch deploy",
        "resnest.torch deploy nchw",
        "resnest.torch optimized",
    ]
    everyone = contenders(JOB, ["timm", "gluoncv", "onnxruntime"])
    assert {"timm", "timm compiled", "timm.onnx", "resnest.onnx deploy", "gluoncv", "resnest.gluon optimized"} <= {
        *everyone
    }
    assert not {"timm", "timm.onnx", "gluoncv"} & {*contenders(Job("resnest50_fast_1s1x64d"), ["timm", "gluoncv"])}


def test_an_unknown_library_is_one_sentence():
    with pytest.raises(ValueError, match="called 'keras'; known are timm, gluoncv, onnxruntime, openvino"):
        contenders(JOB, ["keras"])


def test_each_precision_has_contenders_of_its_own():
    libraries = ["timm", "onnxruntime", "openvino"]
    assert contenders(JOB, libraries, precisions=["bfloat16"]) == [
        "resnest.torch deploy bfloat16",
        "resnest.torch optimized bfloat16",
        "timm bfloat16",
        "timm autocast bfloat16",
        "timm compiled bfloat16",
        "timm.openvino bfloat16",
    ]
    assert contenders(JOB, libraries, precisions=["int8"]) == [
        "timm compiled int8",
        "resnest.onnx deploy int8",
        "timm.onnx int8",
        "timm.openvino int8",
    ]
    assert contenders(JOB, libraries) == [
        name for name in contenders(JOB, libraries, precisions=PRECISIONS) if precision(name) == "float32"
    ]
    assert contenders(JOB, ["openvino"], fastest=False, precisions=["bfloat16"])[-1] == "timm.openvino bfloat16"


def test_ratios_are_within_a_precision():
    times = {
        "resnest.torch deploy": 4.0,
        "resnest.torch deploy bfloat16": 2.0,
        "resnest.torch optimized bfloat16": 1.0,
        "resnest.onnx deploy int8": 1.0,
        "timm": 8.0,
        "timm bfloat16": 10.0,
        "timm autocast bfloat16": 5.0,
        "timm compiled bfloat16": 2.0,
        "timm.onnx": 8.0,
        "timm.onnx int8": 4.0,
        "timm.openvino int8": 2.0,
        FLOOR: 1.0,
    }
    results = [Result(name, [seconds]) for name, seconds in times.items()]
    _compare(results)
    ratios = {result.contender: result.ratios for result in results if result.ratios}
    assert ratios == {
        "resnest.torch deploy": {FLOOR: 4.0, "timm": 0.5},
        "resnest.torch deploy bfloat16": {"timm bfloat16": 0.4},
        "resnest.torch optimized bfloat16": {"timm bfloat16": 0.2, "timm compiled bfloat16": 0.5},
        "resnest.onnx deploy int8": {"timm.onnx int8": 0.25, "timm.openvino int8": 0.5},
    }


@pytest.mark.torch
def test_a_contender_whose_package_is_missing_is_left_out_by_one_sentence(monkeypatch):
    there = importlib.util.find_spec
    gone = ("openvino", "nncf", "torchao")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in gone else there(name, *rest))
    result = cli.run("bench", "resnest14", "--against", "openvino", "--precision", "int8")
    assert result.exit_code == 2
    assert "timm.openvino int8 is left out: it needs nncf and openvino: pip install nncf openvino" in result.stderr
    assert "nobody runs resnest14 in int8 here" in result.stderr
    assert [*impossible(["timm compiled int8", "resnest.torch"])] == ["timm compiled int8"]


def test_a_processor_without_bfloat16_leaves_it_out(monkeypatch):
    monkeypatch.setattr("resnest.backends.processor.flags", lambda: ["avx2"])
    (why,) = impossible(["resnest.torch", "resnest.torch optimized bfloat16"]).values()
    assert why.startswith("this processor has no bfloat16 instructions")


@pytest.mark.torch
def test_a_step_in_bfloat16_computes_in_it(monkeypatch):
    import torch

    from resnest.torch.backend import step_of

    seen = []
    model = torch.nn.Conv2d(3, 4, 1)
    model.deploy = lambda: model
    model.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0].dtype, output.dtype)))
    images = np.zeros((1, 3, 4, 4), "f4")
    step_of(torch.nn.Sequential(model), "autocast bfloat16", images, train=False)()
    step_of(model, "deploy bfloat16", images, train=False)()
    assert seen == [(torch.float32, torch.bfloat16), (torch.bfloat16, torch.bfloat16)]


def test_ratios_are_of_medians_over_the_peers_better_layout():
    results = [
        Result("resnest.torch deploy", [2.0, 1.0, 9.0]),
        Result("timm", [8.0]),
        Result("timm nchw", [4.0]),
        Result(FLOOR, [1.0]),
    ]
    _compare(results)
    assert results[0].ratios == {FLOOR: 2.0, "timm": 0.5}
    assert not results[1].ratios


@pytest.mark.torch
def test_contenders_take_turns_in_processes_of_their_own():
    said = []
    results = run(JOB, [FLOOR, "resnest.torch deploy"], rounds=2, steps=1, progress=said.append)
    assert [len(result.seconds) for result in results] == [2, 2]
    assert all(result.median > 0 and result.peak > 0 and "torch" in result.versions for result in results)
    assert said[-1] == "resnest14: round 2 of 2"
    assert json.loads(json.dumps(report(JOB, results)))["results"][1]["contender"] == "resnest.torch deploy"


def test_a_contender_that_fails_says_its_last_words():
    with pytest.raises(RuntimeError, match="someone else ended without an answer: ValueError: there is no contender"):
        run(JOB, ["someone else"], rounds=1)


def test_our_onnx_is_the_deploy_form(monkeypatch):
    onnx = pytest.importorskip("onnx")
    monkeypatch.setattr(others, "_onnxruntime", lambda content, images, threads: content)
    graph = onnx.load_from_string(others._onnx(tiny(), "deploy", np.zeros((1, 3, 33, 33), "f4"), 1, False)).graph
    assert {"Conv", "BatchNormalization"} & {node.op_type for node in graph.node} == {"Conv"}


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_medians_are_drawn(tmp_path, suffix):
    results = [Result("resnest.torch", [1.0, 2.0, 3.0]), Result("timm", [2.0, 2.0])]
    plot([report(JOB, results)] * 2, tmp_path / f"plot{suffix}")
    assert (tmp_path / f"plot{suffix}").stat().st_size > 1000


def test_the_command_refuses_an_unknown_library():
    result = cli.run("bench", "resnest14", "--against", "keras")
    assert result.exit_code == 2
    assert "keras" in result.stderr


def test_a_killed_contender_is_no_riddle():
    worker = _Worker(FLOOR)
    try:
        worker.process.kill()
        with pytest.raises(RuntimeError, match="was killed, as by a system short of memory"):
            worker.ask(1)
    finally:
        worker.kill()


MEASURED = sorted((REPOSITORY / "benchmarks" / "results").glob("*/results.json"))


@pytest.mark.parametrize("results", MEASURED, ids=[results.parent.name for results in MEASURED])
def test_the_docs_show_what_was_measured(results, monkeypatch, capsys):
    module = importlib.util.spec_from_file_location("run", REPOSITORY / "benchmarks" / "run.py")
    benchmark = importlib.util.module_from_spec(module)
    module.loader.exec_module(benchmark)
    monkeypatch.setattr("sys.argv", ["run.py", str(results.parent), "--show"])
    benchmark.main()
    assert capsys.readouterr().out in (REPOSITORY / "docs" / "speed.md").read_text()
    assert benchmark.tables(json.loads(results.read_text())) == results.with_name("tables.md").read_text()
