"""Tests in forked processes, on a copy of the repository: each costs its own time and no imports of frameworks."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

PRELOADED = ("resnest.torch", "resnest.gluon", "resnest.cli", "tests.conftest", "torchvision")
PROCESSOR_SECONDS, WALL_SECONDS = 100, 500
MEMORY = 8 << 30

settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate), derandomize=True, database=None)
"""A failure is enough: no smaller example is looked for."""


def copy(folder: Path, commit: str, tests: str | None = None) -> Path:
    """The repository at a commit, its tests at another one if that is given."""
    folder.mkdir()
    for ref, *only in [(commit,)] + ([(tests, "tests")] if tests else []):
        archive = subprocess.run(["git", "archive", ref, *only], capture_output=True, check=True)
        subprocess.run(["tar", "--extract"], input=archive.stdout, cwd=folder, check=True)
    return folder


def preload(root: Path) -> None:
    """Import the frameworks into this process, and nothing that is mutated or tests it."""
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(root))
    for name in PRELOADED:
        importlib.import_module(name)
    for name in list(sys.modules):
        if name.partition(".")[0] in ("resnest", "tests"):
            del sys.modules[name]
    sys.path.remove(str(root))
    gc.freeze()


def fork(run: Callable[..., Any], *arguments: Any) -> int:
    """The number of a process that runs `run` and ends with what that returns."""
    sys.stdout.flush()
    number = os.fork()
    if not number:
        status = 70
        try:
            status = run(*arguments) or 0
        finally:
            os._exit(status)
    return number


def failures(root: Path, tests: Sequence[str], options: Sequence[str], plugins: Sequence[Any] = ()) -> list[str]:
    """The names of `tests` that fail, or how the process that ran them ended if it was not of its own will."""
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as home:
        process = fork(run_tests, root, Path(home), [*options, *tests], plugins)
        status = wait(process)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)  # what the tests left running
        names = Path(home, "failed").read_text().splitlines() if Path(home, "failed").exists() else []
    passed = status in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    return names or ([] if passed else [f"ended with {status}"])


def wait(process: int) -> int:
    """A process's exit status, or minus the signal that ended it; one that takes too long is killed."""
    end = time.monotonic() + WALL_SECONDS
    while True:
        number, status = os.waitpid(process, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.killpg(process, signal.SIGKILL)
        time.sleep(0.05)


def run_tests(root: Path, home: Path, arguments: list[str], plugins: Sequence[Any]) -> int:
    """Run pytest in this process, which is a fork and ends with it; what fails is written to `home`/failed."""
    os.setsid()
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.RLIM_INFINITY))
    for stream in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    os.chdir(root)
    sys.path.insert(0, str(root))
    importlib.invalidate_caches()
    os.environ |= {"PYTHONPATH": str(root), "HOME": str(home)}
    settings.load_profile("mutants")
    usual = ["--quiet", "--tb=no", "-p", "no:cacheprovider", f"--basetemp={home / 'tests'}"]
    return pytest.main([*usual, *arguments], plugins=[Failures(home / "failed"), *plugins])


class Failures:
    """A plugin that writes the name of each test that fails, and of each file that cannot be read, into a file."""

    def __init__(self, file: Path):
        self.file = file

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.write(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.write(report)

    def write(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed:
            with open(self.file, "a") as file:
                file.write(report.nodeid + "\n")
