"""Find out which test runs which lines of the package, and in what time: mutants meet these tests alone.

    python benchmarks/mutants/cover.py SAMPLE OUTPUT [--tests HEAD] [FOLDER ...]

Appends a line of JSON to OUTPUT for each test that passes; files of tests that are there already are not run again. It
needs `coverage`; run it at the root of the repository.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest
from forked import copy, failures, preload

FOLDERS = ["test_house.py", "specs", "weights", "data", "backends", "torch", "gluon", "jobs"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sample", type=Path, help="whose commit is looked at")
    parser.add_argument("output", type=Path)
    parser.add_argument("--tests", help="another commit, to take the tests from")
    parser.add_argument("folders", nargs="*", default=FOLDERS, help="folders of tests, or files of them")
    options = parser.parse_args()
    commit = json.loads(options.sample.read_text().partition("\n")[0])["commit"]
    known = options.output.read_text() if options.output.exists() else ""
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        root = copy(Path(scratch, "code"), commit, options.tests)
        preload(root)
        for folder in options.folders:
            for path in sorted((root / "tests").glob(f"{folder}/**/test_*.py")) or [root / "tests" / folder]:
                file = str(path.relative_to(root))
                if f'"{file}::' not in known:
                    failed = failures(root, [file], [], [Covered(root, options.output.absolute())])
                    print(file, *failed, flush=True)


class Covered:
    """A plugin that appends the lines that each test runs."""

    def __init__(self, root: Path, output: Path):
        self.root, self.output = root, output
        self.passed: set[str] = set()
        self.seconds: dict[str, float] = {}

    def pytest_sessionstart(self) -> None:
        self.coverage = coverage.Coverage(data_file=None, include=[f"{self.root}/resnest/*"], messages=False)
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.coverage.switch_context(item.nodeid)
        start = time.process_time()
        result = yield
        if item.nodeid in self.passed:
            self.seconds[item.nodeid] = time.process_time() - start
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.passed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        data = self.coverage.get_data()
        lines: dict[str, dict[str, list[int]]] = {test: {} for test in self.seconds}
        for path in data.measured_files():
            name = str(Path(path).relative_to(self.root))
            for line, tests in data.contexts_by_lineno(path).items():
                for test in tests:
                    if test in lines:
                        lines[test].setdefault(name, []).append(line)
        with open(self.output, "a") as file:
            for test, seconds in self.seconds.items():
                file.write(json.dumps({"test": test, "seconds": round(seconds, 3), "lines": lines[test]}) + "\n")


if __name__ == "__main__":
    main()
