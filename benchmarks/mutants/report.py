"""Write down what came of the mutants.

    python benchmarks/mutants/report.py SAMPLE RESULTS > benchmarks/results/mutants.md

The score is the share of mutants that a test noticed, of all that change what the code does; `equivalent.json` holds
those that do not, each with why. "Before" are the tests of the commit that the sample is of, "after" also those that
`trial.py --tests` took from a later one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

EQUIVALENT = Path(__file__).with_name("equivalent.json")


def main() -> None:
    sample, results = (read(Path(path)) for path in sys.argv[1:])
    reasons = {key(row): row["why"] for row in json.loads(EQUIVALENT.read_text())}
    tried = {row["id"] for row in results}
    after = {row["id"] for row in results if row["caught"]}
    before = {row["id"] for row in results if row["caught"] and not row["tests"]}
    mutants = [mutant | {"why": reasons.get(key(mutant))} for mutant in sample if mutant["id"] in tried]
    missed = [mutant for mutant in mutants if mutant["id"] not in after]
    print(f"# Mutants\n\n{len(mutants)} small faults in the code of {sample[0]['commit'][:7]}, one at a time.")
    print("Noticed: a test of the fault's own room, or of a floor that uses it, failed.\n")
    print(table(mutants, before, after))
    print("\n## Not noticed\n")
    print("\n".join(line(mutant) for mutant in missed if not mutant["why"]))
    print("\n## Equivalent\n")
    print("\n".join(f"{line(mutant)}: {mutant['why']}" for mutant in missed if mutant["why"]))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["path"], row["was"], row["now"]


def table(mutants: list[dict[str, Any]], before: set[int], after: set[int]) -> str:
    """A row for each floor, and one for all."""
    rows = ["| floor | mutants | equivalent | noticed before | after |", "|---|---|---|---|---|"]
    for floor in [*dict.fromkeys(mutant["floor"] for mutant in mutants), "all"]:
        here = [mutant for mutant in mutants if floor in (mutant["floor"], "all")]
        counted = [mutant["id"] for mutant in here if mutant["id"] in after or not mutant["why"]]
        shares = (
            f"{len(noticed & {*counted})}, {len(noticed & {*counted}) / len(counted):.1%}"
            for noticed in (before, after)
        )
        rows.append(f"| {floor} | {len(here)} | {len(here) - len(counted)} | {' | '.join(shares)} |")
    return "\n".join(rows)


def line(mutant: dict[str, Any]) -> str:
    was, now = (" ".join(mutant[side].split()) for side in ("was", "now"))
    return f"- `{mutant['path']}:{mutant['line']}` `{was}` -> `{now}`"


if __name__ == "__main__":
    main()
