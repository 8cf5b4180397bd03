"""Find out which test runs which lines of the package, and in what time: mutants meet these tests alone.

    python benchmarks/mutants/cover.py FOLDER [--at HEAD] [--jobs 2]

Writes a row for each test that passes, into a file of FOLDER for each commit: that of FOLDER's sample, or another.
Files of tests that are there already are not run again. It needs `coverage`; run it at the root of the repository.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest
import rows
from forked import copies, failures, share

FOLDERS = ["test_house.py", "test_mirror.py", "specs", "weights", "data", "backends", "torch", "gluon", "jobs"]
SECONDS = 600
"""Of the processor, for a file of tests: to count lines takes some times as long as to run them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at", help="a commit; without it that of the sample")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("tests", nargs="*", default=FOLDERS, help="folders of tests, or files of them")
    options = parser.parse_intermixed_args()
    commit = rows.commit(options.at or rows.read(options.folder / rows.SAMPLE)[0]["commit"])
    output = rows.cover(options.folder, commit).absolute()
    known = {row["test"].partition("::")[0] for row in rows.read(output)}

    def cover(root: Path, file: str) -> None:
        failed = failures(root, [file], [], [Covered(root, output)], SECONDS)
        print(file, *failed, flush=True)

    with copies(commit, options.jobs) as roots:
        files = [
            str(path.relative_to(roots[0]))
            for folder in options.tests
            for path in sorted((roots[0] / "tests").glob(f"{folder}/**/test_*.py")) or [roots[0] / "tests" / folder]
        ]
        share(roots, [file for file in files if file not in known], cover)


class Covered:
    """A plugin that writes the lines that each test runs."""

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
        start = time.perf_counter()  # other processes' time too, where a test waits for a command
        result = yield
        if item.nodeid in self.passed:
            self.seconds[item.nodeid] = time.perf_counter() - start
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
        found = ({"test": test, "seconds": round(self.seconds[test], 3), "lines": lines[test]} for test in lines)
        rows.append(self.output, *found)


if __name__ == "__main__":
    main()
