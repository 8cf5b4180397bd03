"""Tests in forked processes, on copies of the repository: each costs its own time and no imports of frameworks."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

PRELOADED = ("resnest.torch", "resnest.gluon", "resnest.cli", "tests.conftest", "torchvision")
PROCESSOR_SECONDS = 100
"""So long may one process of tests compute, and five times as long take."""

MEMORY = 8 << 30

settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate), derandomize=True, database=None)
"""A failure is enough: no smaller example is looked for."""


@contextlib.contextmanager
def copies(commit: str, count: int) -> Iterator[list[Path]]:
    """`count` copies of the repository at a commit; with its frameworks imported in this process.

    They are removed at the end, be it Ctrl-C or SIGTERM. What a killed run left is removed by the next one.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    temporary = Path(tempfile.gettempdir())
    for left in temporary.glob("mutants-*"):
        if not alive(left.name.partition("-")[2]):
            shutil.rmtree(left, ignore_errors=True)
    scratch = temporary / f"mutants-{os.getpid()}"
    scratch.mkdir(mode=0o700)
    try:
        made = [copy(scratch / str(number), commit) for number in range(count)]
        preload(made[0])
        yield made
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass
    return True


def copy(folder: Path, commit: str) -> Path:
    folder.mkdir()
    archive = subprocess.run(["git", "archive", commit], capture_output=True, check=True)
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
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    return number


def share(roots: Sequence[Path], items: Sequence[Any], do: Callable[[Path, Any], None]) -> None:
    """Do all items, in one process a copy; they end with this one, however it ends."""
    parent = os.getpid()

    def serve(root: Path, part: Sequence[Any]) -> None:
        for item in part:
            if os.getppid() != parent:
                break
            do(root, item)

    servers = [fork(serve, root, items[number :: len(roots)]) for number, root in enumerate(roots)]
    try:
        while servers:
            _, status = os.waitpid(servers[-1], 0)
            servers.pop()
            if status:
                sys.exit("a process that tries mutants ended early")
    finally:
        for server in servers:
            os.kill(server, signal.SIGTERM)


def failures(
    root: Path,
    files: Sequence[str],
    options: Sequence[str],
    plugins: Sequence[Any] = (),
    seconds: int = PROCESSOR_SECONDS,
) -> list[str]:
    """The names of tests in `files` that fail, or how the process that ran them ended if it was not of its own will."""
    with tempfile.TemporaryDirectory(prefix="home-", dir=root.parent, ignore_cleanup_errors=True) as home:
        process = fork(run_tests, root, Path(home), [*options, *files], plugins, seconds)
        try:
            status = wait(process, 5 * seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)  # what the tests left running
        names = Path(home, "failed").read_text().splitlines() if Path(home, "failed").exists() else []
    passed = status in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    return names or ([] if passed else [f"ended with {status}"])


def wait(process: int, seconds: float) -> int:
    """A process's exit status, or minus the signal that ended it; one that takes too long is killed."""
    end = time.monotonic() + seconds
    while True:
        number, status = os.waitpid(process, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.killpg(process, signal.SIGKILL)
        time.sleep(0.05)


def run_tests(root: Path, home: Path, arguments: list[str], plugins: Sequence[Any], seconds: int) -> int:
    """Run pytest in this process, which is a fork and ends with it; what fails is written to `home`/failed."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
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


class Only:
    """A plugin that runs the named tests alone, in their order; one whose name is gone is not run."""

    def __init__(self, tests: Sequence[str]):
        self.turns = {test: turn for turn, test in enumerate(tests)}
        self.files = list(dict.fromkeys(test.partition("::")[0] for test in tests))

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self.turns]
        items.sort(key=lambda item: self.turns[item.nodeid])


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
