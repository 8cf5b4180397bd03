"""Try the tests on mutants: which of them does a test notice?

    python benchmarks/mutants/trial.py SAMPLE RESULTS [--tests HEAD] [--again] [--budget 30] [--jobs 2]

SAMPLE is what `sample.py` drew, from the commit that it names. Each mutant meets first the tests that bear its name,
then those of its room and floor, then those of the floors that use it, until one fails. Appends a line of JSON to
RESULTS for each; what is there already is not tried again, but with --again what no test noticed. At the end the tests
that noticed something run on the code as it is: what fails there too proves nothing. Run it at the repository's root.

A server imports the frameworks once and forks a process for each mutant, which costs its tests' time and no imports.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

PRELOADED = ("resnest.torch", "resnest.gluon", "resnest.cli", "tests.conftest", "hypothesis", "torchvision")
FLOORS = {
    "specs": ["specs", "weights", "backends", "jobs", "torch"],
    "weights": ["weights", "backends", "jobs"],
    "data": ["data", "jobs", "backends"],
    "torch": ["backends", "torch", "test_mirror", "jobs"],
    "gluon": ["backends", "gluon", "test_mirror", "jobs"],
}
"""Whose tests a mutant meets, floor by floor: its own and those that use it."""

OTHER_NAMES = {
    "anchors": ["detection"],
    "arguments": ["resnest", "recipe"],
    "basic": ["resnest", "first_values", "norms"],
    "blocks": ["resnest"],
    "boxes": ["coco", "detection"],
    "regions": ["detection"],
    "schedule": ["dropblock"],
    "seeded": ["golden"],
    "table": ["registry", "builders"],
    "units": ["segmentation", "first_values"],
}
"""Whose tests try a module that has no file of its name, or not all of it there."""

PROCESSOR_SECONDS, WALL_SECONDS = 60, 400  # for one file of tests
MEMORY = 8 << 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sample", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--tests", help="another commit, to take the tests from")
    parser.add_argument("--again", action="store_true", help="try again what no test noticed")
    parser.add_argument("--first", type=int, help="try no more than so many of the sample")
    parser.add_argument("--budget", type=float, default=30, help="processor seconds for what no test notices")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    caught = {row["id"]: row["caught"] for row in read(options.results)}
    sample = read(options.sample)[: options.first]
    wanted = [mutant for mutant in sample if mutant["id"] not in caught or (options.again and not caught[mutant["id"]])]
    print(f"{len(wanted)} of {len(sample)} mutants to try", flush=True)
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        copies = [copy(Path(scratch, str(job)), sample[0]["commit"], options.tests) for job in range(options.jobs)]
        preload(copies[0])
        shares = [(root, wanted[job :: len(copies)]) for job, root in enumerate(copies)]
        servers = [fork(serve, root, share, options.results, options.budget) for root, share in shares]
        for server in servers:
            os.waitpid(server, 0)
        confirm(copies[0], read(options.results))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def copy(folder: Path, commit: str, tests: str | None) -> Path:
    """A copy of the repository to mutate."""
    folder.mkdir()
    for ref, *only in [(commit,)] + ([(tests, "tests")] if tests else []):
        archive = subprocess.run(["git", "archive", ref, *only], capture_output=True, check=True)
        subprocess.run(["tar", "--extract"], input=archive.stdout, cwd=folder, check=True)
    return folder


def preload(root: Path) -> None:
    """Import the frameworks, and nothing that is mutated or tests it."""
    os.environ |= {"OMP_NUM_THREADS": "1"}
    sys.path.insert(0, str(root))
    for name in PRELOADED:
        importlib.import_module(name)
    for name in list(sys.modules):
        if name.partition(".")[0] in ("resnest", "tests"):
            del sys.modules[name]
    sys.path.pop(0)
    gc.freeze()


def fork(run: Any, *arguments: Any) -> int:
    """The number of a process that runs `run` and ends."""
    sys.stdout.flush()
    number = os.fork()
    if not number:
        status = 70
        try:
            status = run(*arguments) or 0
        finally:
            os._exit(status)
    return number


def serve(root: Path, mutants: list[dict[str, Any]], results: Path, budget: float) -> None:
    """Try one mutant after the other, and keep what came of it."""
    costs: dict[str, float] = {}
    for mutant in mutants:
        caught = attempt(root, mutant, budget, costs)
        with open(results, "a") as file:
            file.write(json.dumps({"id": mutant["id"], "caught": caught}) + "\n")
        print(mutant["id"], mutant["path"], mutant["line"], "|", mutant["now"][:60], "->", caught or "-", flush=True)


def attempt(root: Path, mutant: dict[str, Any], budget: float, costs: dict[str, float]) -> str | None:
    """The first test that fails on a mutant; None where all pass that a `budget` of processor seconds pays for.

    `costs` are the seconds of each file of tests, as far as they are known: the cheapest are run first.
    """
    path = root / mutant["path"]
    before, times = path.read_text(), path.stat().st_mtime_ns
    path.write_text(mutant["code"])
    os.utime(path, (1, 1 + mutant["id"]))  # what Python compiled of another mutant is out of date
    backend = mutant["floor"] if mutant["floor"] in ("torch", "gluon") else "torch"
    try:
        for stage in stages(root, mutant["path"]):
            for file in sorted(stage, key=lambda file: costs.get(file, 0.0)):
                if budget < 0:
                    return None
                failed, cost = failures(root, backend, [file], "--exitfirst")
                if failed:
                    return failed[0]
                costs[file] = cost
                budget -= cost
    finally:
        path.write_text(before)
        os.utime(path, ns=(times, times))
    return None


def stages(root: Path, path: str) -> list[list[str]]:
    """The test files for a module in the order in which they are run: its own, its room's, then floor by floor."""
    floor, *rooms, name = Path(path).with_suffix("").parts[1:]
    files = [str(file.relative_to(root)) for file in sorted((root / "tests").rglob("test_*.py"))]
    floors = [[file for file in files if file.startswith(f"tests/{folder}")] for folder in FLOORS[floor]]
    words = {f"test_{word}" for word in (name, *rooms, *OTHER_NAMES.get(name, []))}
    own = [file for files in floors[:2] for file in files if Path(file).stem in words]
    room = [file for file in files if file.startswith("/".join(["tests", floor, *rooms]) + "/")]
    met: list[str] = []
    order = []
    for stage in [own, room, *floors]:
        order.append([file for file in stage if file not in met])
        met += order[-1]
    return order


def failures(root: Path, backend: str, tests: list[str], *options: str) -> tuple[list[str], float]:
    """The names of `tests` that fail in a process of their own, and its processor seconds."""
    with tempfile.TemporaryDirectory(prefix="mutant-", ignore_cleanup_errors=True) as home:
        process = fork(run_tests, root, Path(home), backend, tests, *options)
        status, cost = wait(process)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)  # what the tests left running
        names = Path(home, "failed").read_text().splitlines() if Path(home, "failed").exists() else []
    passed = status in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    return names or ([] if passed else [f"{tests[0]} ended with {status}"]), cost


def wait(process: int) -> tuple[int, float]:
    """A process's exit status, or minus the signal that ended it, and its processor seconds; it may take so long."""
    end = time.monotonic() + WALL_SECONDS
    while True:
        number, status, usage = os.wait4(process, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        if time.monotonic() > end:
            os.killpg(process, signal.SIGKILL)
        time.sleep(0.05)


def run_tests(root: Path, home: Path, backend: str, tests: list[str], *options: str) -> int:
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
    usual = ["--quiet", "-p", "no:cacheprovider", f"--basetemp={home / 'tests'}"]
    return pytest.main([*usual, "--backends", backend, *options, *tests], plugins=[Failures(home / "failed")])


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


def confirm(root: Path, rows: list[dict[str, Any]]) -> None:
    """Say which of the tests that noticed a mutant fail on the code as it is."""
    names = sorted({row["caught"] for row in rows if "::" in (row["caught"] or "")})
    for start in range(0, len(names), 50):
        for name in failures(root, "torch,gluon", names[start : start + 50])[0]:
            print("fails without a mutant:", name, flush=True)


if __name__ == "__main__":
    main()
