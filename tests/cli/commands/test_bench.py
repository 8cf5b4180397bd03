"""What the command asks to be timed, and what it tells of that; how fast anything is, no test asks."""

import json

import pytest

from resnest.jobs.bench import run as timing
from tests.support.cli import run


@pytest.fixture
def asked(monkeypatch):
    """The jobs that were to be timed, which none is here."""
    jobs = []

    def measured(job, contenders, rounds, progress):
        jobs.append(job)
        return [timing.Result(name, [float(len(jobs))]) for name in contenders]

    monkeypatch.setattr(timing, "run", measured)
    return jobs


def test_each_network_is_timed_and_told(asked, tmp_path):
    done = run("bench", "resnest14", "resnest26", "--size", 33, "--batch", 2, "--json", tmp_path / "times.json")
    assert done.exit_code == 0, done.output
    assert asked == [timing.Job(model, 2, 33) for model in ("resnest14", "resnest26")]
    lines = done.stdout.splitlines()
    assert [line for line in lines if "prediction" in line] == [
        f"{model}, prediction, 2 x 33 x 33 pixels" for model in ("resnest14", "resnest26")
    ]
    assert [[f"{seconds} ms" in line for line in lines].count(True) for seconds in ("1000.0", "2000.0")] == [
        len(timing.contenders(job, [])) for job in asked
    ]
    kept = json.loads((tmp_path / "times.json").read_text())
    assert [(one["job"]["model"], one["results"][0]["median"]) for one in kept] == [("resnest14", 1), ("resnest26", 2)]


def test_the_options_are_those_of_the_job(asked):
    done = run("bench", "--threads", 1, "--train", "--clock", "cpu", "--no-fastest")
    assert done.exit_code == 0, done.output
    assert asked == [timing.Job("resnest50", threads=1, train=True, clock="cpu")]
    assert "resnest50, training step, 1 x 224 x 224 pixels" in done.stdout
    assert "optimized" not in done.stdout
