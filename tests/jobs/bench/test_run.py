"""The benchmark's machinery; how fast anything is, no test asks."""

import importlib.util
import json

import numpy as np
import pytest

from resnest.jobs.bench import worker
from resnest.jobs.bench.plot import plot
from resnest.jobs.bench.run import FLOOR, Job, Result, _compare, _Worker, contenders, report, run
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
    with pytest.raises(ValueError, match="called 'keras'; known are timm, gluoncv, onnxruntime"):
        contenders(JOB, ["keras"])


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
    monkeypatch.setattr(worker, "_onnxruntime", lambda content, images, threads: content)
    graph = onnx.load_from_string(worker._onnx(tiny(), "deploy", np.zeros((1, 3, 33, 33), "f4"), 1, False)).graph
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
