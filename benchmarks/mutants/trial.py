"""Try the tests on mutants: which of them does a test notice?

    python benchmarks/mutants/trial.py FOLDER [--at HEAD] [--budget 60] [--jobs 2]

FOLDER holds what `sample.py` drew and what `cover.py` found. Each mutant meets the tests that run its line, those of
its room first and the quickest of them, until one fails. A row in FOLDER is what came of it; what is there is not
tried again. With `--at` those that no test noticed meet another commit's tests, as the same change of that commit's
code. At the end the tests that noticed something run on the code as it is: what fails there too proves nothing, and
what it noticed counts as missed. Run it at the root of the repository.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rows
from forked import Only, copies, failures, share

ROOMS = {
    "specs": ["specs", "weights", "backends"],
    "weights": ["weights", "backends"],
    "data": ["data", "jobs"],
    "torch": ["torch", "backends"],
    "gluon": ["gluon", "backends"],
}
"""Whose tests come first; all others follow."""

QUICK = 4
"""So many tests are run first, because most mutants meet no more."""


LEAST_ALIKE = 12
"""So many characters of a changed line another commit must have to be changed there."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at", help="a commit, to try again there what no test noticed")
    parser.add_argument("--first", type=int, help="try no more than so many of the sample")
    parser.add_argument("--budget", type=float, default=60, help="seconds of tests for what none notices")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    sample = rows.read(options.folder / rows.SAMPLE)[: options.first]
    at = rows.commit(options.at or sample[0]["commit"])
    cover = rows.read(rows.cover(options.folder, at))
    results = options.folder / rows.RESULTS

    def try_one(root: Path, mutant: dict[str, Any]) -> None:
        code = carried(mutant, at)
        caught = None if code is None else first_failure(root, mutant, code, cover, options.budget)
        rows.append(results, {"id": mutant["id"], "at": at, "caught": caught, "gone": code is None})
        came = "gone" if code is None else caught or "-"
        print(mutant["id"], mutant["path"], mutant["line"], "|", mutant["now"][:60], "->", came, flush=True)

    wanted = left(sample, rows.read(results), at)
    print(f"{len(wanted)} of {len(sample)} mutants to try", flush=True)
    with copies(at, options.jobs) as roots:
        share(roots, wanted, try_one)
        for test in unreliable(roots[0], noticed(rows.read(results), at)):
            rows.append(results, {"at": at, "unreliable": test})
            print("fails without a mutant:", test, flush=True)


def left(sample: list[dict[str, Any]], results: list[dict[str, Any]], at: str) -> list[dict[str, Any]]:
    """What is to be tried at a commit: what was not, but where a test of another commit noticed it or nothing can."""
    caught = {row["id"] for row in rows.caught(results)}
    tried = {row["id"] for row in results if row["at"] == at and "id" in row}
    equivalent = rows.explained(rows.EQUIVALENT)
    return [mutant for mutant in sample if mutant["id"] not in caught | tried and rows.key(mutant) not in equivalent]


def noticed(results: list[dict[str, Any]], at: str) -> list[str]:
    """The tests that noticed something at a commit."""
    return sorted({row["caught"] for row in rows.caught(results) if row["at"] == at and "::" in row["caught"]})


def carried(mutant: dict[str, Any], at: str) -> str | None:
    """The mutated file, as the same change of another commit's; None where that commit's has no such place."""
    if at == mutant["commit"]:
        return mutant["code"]
    before, now = rows.code(mutant["commit"], mutant["path"]), rows.code(at, mutant["path"])
    if before is None or now is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("now", "before", "mutated")]
        for file, text in zip(files, (now, before, mutant["code"])):
            file.write_text(text)
        merged = subprocess.run(["git", "merge-file", "-p", *files], capture_output=True, text=True)
    if not merged.returncode and merged.stdout != now:
        return merged.stdout
    return replaced(now, mutant["was"], mutant["now"])


def replaced(code: str, was: str, now: str) -> str | None:
    """`code` with the change from `was` to `now` where its surroundings are most alike; None without such a place."""
    start = alike(was, now)
    end = alike(was[start:][::-1], now[start:][::-1])
    stop, changed = len(was) - end, now[start : len(now) - end]
    around = [(left, right) for left in range(start + 1) for right in range(stop, len(was) + 1)]
    for left, right in sorted(around, key=lambda pair: pair[0] - pair[1]):
        if right - left >= LEAST_ALIKE and code.count(was[left:right]) == 1:
            return code.replace(was[left:right], was[left:start] + changed + was[stop:right])
    return None


def alike(left: str, right: str) -> int:
    """How many characters at their start are the same."""
    return next((place for place, (a, b) in enumerate(zip(left, right)) if a != b), min(len(left), len(right)))


def first_failure(
    root: Path, mutant: dict[str, Any], code: str, cover: list[dict[str, Any]], budget: float
) -> str | None:
    """The first test that fails on a mutant; None where all pass."""
    path = root / mutant["path"]
    before, times = path.read_text(), path.stat().st_mtime_ns
    tests = chosen(mutant, before, rows.difference(before, code)[0], cover, budget)
    path.write_text(code)
    os.utime(path, (1, 1 + mutant["id"]))  # what Python compiled of another mutant is out of date
    try:
        for part in (tests[:QUICK], tests[QUICK:]):
            only = Only(part)
            for name in failures(root, only.files, ["--exitfirst"], [only]) if part else []:
                return name
    finally:
        path.write_text(before)
        os.utime(path, ns=(times, times))
    return None


def chosen(mutant: dict[str, Any], source: str, line: int, cover: list[dict[str, Any]], budget: float) -> Sequence[str]:
    """The tests that run the mutant's line, in the order in which they are run: as many as the budget pays for.

    What runs on import is left to all tests that run anything of its file, to those of its floor and the house.
    """
    path, folders = mutant["path"], ROOMS[mutant["floor"]]
    lines = statement(source, line)
    on_import = not any(lines & {*row["lines"].get(path, ())} for row in cover)

    def meets(row: dict[str, Any]) -> bool:
        if own(row):  # nobody knows the lines of the commands that a test starts
            return True
        if on_import:
            return path in row["lines"] or folder(row) in (folders[0], "test_house.py")
        return not lines.isdisjoint(row["lines"].get(path, ()))

    def own(row: dict[str, Any]) -> bool:
        return f"/test_{Path(path).name}::" in row["test"] and folder(row) in folders

    def folder(row: dict[str, Any]) -> str:
        return row["test"].split("/")[1].partition("::")[0]

    def turn(row: dict[str, Any]) -> tuple[bool, bool, float]:
        return folder(row) not in (*folders, "test_house.py"), not own(row), row["seconds"]

    tests: list[str] = []
    for row in sorted(filter(meets, cover), key=turn):
        budget -= row["seconds"]
        if budget > 0 or not tests:
            tests.append(row["test"])
    return tests


def statement(source: str, line: int) -> set[int]:
    """The lines of the innermost statement at `line`: the head of a loop or condition, all of a function.

    None of what runs on import.
    """
    found: set[int] = set()
    inside = False
    for node in ast.walk(ast.parse(source)):  # outer ones come first
        if isinstance(node, ast.stmt):
            start = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
            end = node.end_lineno or start
            if isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try):
                end = node.body[0].lineno - 1
            if start <= line <= end:
                inside = inside or isinstance(node, ast.FunctionDef)
                found = set(range(start, end + 1))
    return found if inside else set()


def unreliable(root: Path, tests: list[str]) -> list[str]:
    """Which of `tests` fail on the code as it is."""
    failed = []
    for start in range(0, len(tests), 50):
        only = Only(tests[start : start + 50])
        failed += failures(root, only.files, [], [only])
    return failed


if __name__ == "__main__":
    main()
