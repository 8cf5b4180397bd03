"""Try the tests on mutants: which of them does a test notice?

    python benchmarks/mutants/trial.py SAMPLE COVER RESULTS [--tests HEAD] [--again] [--budget 60] [--jobs 2]

SAMPLE is what `sample.py` drew and COVER what `cover.py` found. Each mutant meets the tests that run its line, those of
its room first and the quickest of them, until one fails. Appends a line of JSON to RESULTS for each; what is there
already is not tried again, but with --again what no test noticed. At the end the tests that noticed something run on
the code as it is: what fails there too proves nothing. Run it at the root of the repository.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forked import copy, failures, fork, preload

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sample", type=Path)
    parser.add_argument("cover", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--tests", help="another commit, to take the tests from")
    parser.add_argument("--again", action="store_true", help="try again what no test noticed")
    parser.add_argument("--first", type=int, help="try no more than so many of the sample")
    parser.add_argument("--budget", type=float, default=60, help="processor seconds for what no test notices")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    caught = {row["id"]: row["caught"] for row in read(options.results)}
    sample, cover = read(options.sample)[: options.first], read(options.cover)
    wanted = [mutant for mutant in sample if mutant["id"] not in caught or (options.again and not caught[mutant["id"]])]
    print(f"{len(wanted)} of {len(sample)} mutants to try", flush=True)
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        copies = [copy(Path(scratch, str(job)), sample[0]["commit"], options.tests) for job in range(options.jobs)]
        preload(copies[0])
        shares = [(root, wanted[job :: len(copies)]) for job, root in enumerate(copies)]
        servers = [fork(serve, root, share, cover, options) for root, share in shares]
        for server in servers:
            os.waitpid(server, 0)
        confirm(copies[0], read(options.results))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def serve(root: Path, mutants: list[dict[str, Any]], cover: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Try one mutant after the other, and keep what came of it, with the commit whose tests it met."""
    for mutant in mutants:
        tests = chosen(mutant, (root / mutant["path"]).read_text(), cover, options.budget)
        caught = first_failure(root, mutant, tests)
        with open(options.results, "a") as file:
            file.write(json.dumps({"id": mutant["id"], "caught": caught, "tests": options.tests}) + "\n")
        print(mutant["id"], mutant["path"], mutant["line"], "|", mutant["now"][:60], "->", caught or "-", flush=True)


def chosen(mutant: dict[str, Any], source: str, cover: list[dict[str, Any]], budget: float) -> list[str]:
    """The tests that run the mutant's line, in the order in which they are run: as many as the budget pays for.

    What runs on import alone is left to all tests that run anything of its file, to those of its floor and the house.
    """
    folders = ROOMS[mutant["floor"]]
    lines = statement(source, mutant["line"])
    rows = [row for row in cover if not lines.isdisjoint(row["lines"].get(mutant["path"], ()))]
    if not rows:
        near = (f"tests/{folders[0]}/", "tests/test_house")
        rows = [row for row in cover if mutant["path"] in row["lines"] or row["test"].startswith(near)]

    def turn(row: dict[str, Any]) -> tuple[int, float]:
        folder = row["test"].split("/")[1]
        return folders.index(folder) if folder in folders else len(folders), row["seconds"]

    tests: list[str] = []
    for row in sorted(rows, key=turn):
        budget -= row["seconds"]
        if budget > 0 or not tests:
            tests.append(row["test"])
    return tests


def statement(source: str, line: int) -> set[int]:
    """The lines of the innermost statement at `line`: the head of a loop or condition, all of a function or class."""
    found = {line}
    for node in ast.walk(ast.parse(source)):  # outer ones come first
        if isinstance(node, ast.stmt):
            start = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
            end = node.end_lineno or start
            if isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try):
                end = node.body[0].lineno - 1
            if start <= line <= end:
                found = set(range(start, end + 1))
    return found


def first_failure(root: Path, mutant: dict[str, Any], tests: Sequence[str]) -> str | None:
    """The first of `tests` that fails on a mutant; None where all pass."""
    path = root / mutant["path"]
    before, times = path.read_text(), path.stat().st_mtime_ns
    path.write_text(mutant["code"])
    os.utime(path, (1, 1 + mutant["id"]))  # what Python compiled of another mutant is out of date
    try:
        for part in (tests[:QUICK], tests[QUICK:]):
            for name in failures(root, part, ["--exitfirst"]) if part else []:
                return name
    finally:
        path.write_text(before)
        os.utime(path, ns=(times, times))
    return None


def confirm(root: Path, rows: list[dict[str, Any]]) -> None:
    """Say which of the tests that noticed a mutant fail on the code as it is."""
    names = sorted({row["caught"] for row in rows if "::" in (row["caught"] or "")})
    for start in range(0, len(names), 50):
        for name in failures(root, names[start : start + 50], []):
            print("fails without a mutant:", name, flush=True)


if __name__ == "__main__":
    main()
