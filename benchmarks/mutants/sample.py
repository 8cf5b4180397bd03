"""Draw mutants of the package: small changes of its code, each of which some test should notice.

    python benchmarks/mutants/sample.py FOLDER [--count 600] [--seed 0]

Writes a line of JSON for each: where it is, what the line was and becomes, and the whole mutated file. Every floor
gives as many, and in it every kind of change has an equal chance; no place in the code is changed twice. It needs
`cosmic-ray`, and none of the frameworks; run it at the root of a repository in which all is committed.
"""

from __future__ import annotations

import argparse
import ast
import json
import random
import re
from collections.abc import Iterator
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import rows
from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from operators import OPERATORS

FLOORS = {
    "specs": ["resnest/specs"],
    "weights": ["resnest/weights"],
    "data": ["resnest/data"],
    "torch": ["resnest/torch/layers", "resnest/torch/networks"],
    "gluon": ["resnest/gluon/layers", "resnest/gluon/networks"],
}
"""What is mutated: the code that numbers go through."""

TRIVIAL = re.compile(
    r"ReplaceBinaryOperator_\w+_(Mod|Pow|[RL]Shift|Bit\w+)|Invert|ReplaceComparisonOperator_\w+_Is(Not)?$|"
    r"ReplaceComparisonOperator_Is(Not)?_|ExceptionReplacer"
)
"""Operators that make what no number survives or no programmer writes by mistake, and one that fails on tuples."""
IS_NOT = re.compile(r"ReplaceComparisonOperator_(Is_IsNot|IsNot_Is)$")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if changed := rows.git("status", "--porcelain", "resnest"):
        parser.error(f"commit this first, or the mutants are of no commit:\n{changed}")
    drawn = sample(options.count, options.seed)
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / rows.RESULTS).unlink(missing_ok=True)  # they are of another sample
    (options.folder / rows.SAMPLE).write_text("".join(json.dumps(mutant) + "\n" for mutant in drawn))
    print(f"{len(drawn)} mutants in {options.folder / rows.SAMPLE}")


def sample(count: int, seed: int) -> list[dict[str, Any]]:
    """`count` mutants, the floors in turn; the same ones from the same code and seed."""
    draw = random.Random(seed)
    floors = [mutants(floor, draw) for floor in FLOORS]
    turns = (mutant for turn in zip_longest(*floors) for mutant in turn if mutant)
    head = rows.commit("HEAD")
    return [mutant | {"id": number, "commit": head} for number, mutant in enumerate(islice(turns, count))]


def mutants(floor: str, draw: random.Random) -> Iterator[dict[str, Any]]:
    """All mutants of a floor, one for each place, but for those that run as the code itself does."""
    kinds: dict[str, list[Any]] = {}
    for path in sorted(path for folder in FLOORS[floor] for path in Path(folder).rglob("*.py")):
        for kind, change in changes(path):
            kinds.setdefault(kind, []).append(change)
    used = set()
    while kinds:
        kind = draw.choice(sorted(kinds))
        path, place, operator, occurrence = kinds[kind].pop(draw.randrange(len(kinds[kind])))
        if not kinds[kind]:
            del kinds[kind]
        if (path, place) in used:
            continue
        used.add((path, place))
        before = path.read_text()
        code = mutate_code(before, operator, occurrence)
        if runs(code) not in (None, runs(before)):
            line, was, now = rows.difference(before, code)
            yield {"floor": floor, "path": str(path), "kind": kind, "line": line, "was": was, "now": now, "code": code}


def changes(path: Path) -> Iterator[tuple[str, Any]]:
    """What can be changed in a file: the kind of change, and (path, place, operator, its how-manieth change here)."""
    nodes = list(ast_nodes(get_ast(path.read_text())))
    for name, operator in operators():
        places = [place for node in nodes for place in operator.mutation_positions(node)]
        for occurrence, place in enumerate(places):
            yield name.partition("_")[0], (path, place, operator, occurrence)


def operators() -> Iterator[tuple[str, Any]]:
    for name in plugins.operator_names():
        kind = plugins.get_operator(name)
        if not kind.arguments() and (IS_NOT.search(name) or not TRIVIAL.search(name)):
            yield name.removeprefix("core/"), kind()
    yield from ((name, kind()) for name, kind in OPERATORS.items())


def runs(code: str) -> str | None:
    """What a file runs: its tree without docstrings and annotations, which nobody evaluates here. None: no Python."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            node.annotation = ast.Constant(None)
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = None
    return ast.dump(tree)


if __name__ == "__main__":
    main()
