"""Write down what came of the mutants.

    python benchmarks/mutants/report.py FOLDER > benchmarks/results/mutants.md

The score is the share of mutants that a test noticed, of all that change what the code does: `equivalent.json` holds
those that do not, each with why, and they count on neither side unless a test noticed them. `missed.json` says of
others why no test is to notice them; they count as missed. "Before" are the tests of the sample's own commit, "after"
also those that `trial.py --at` took from later ones.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import rows


def main() -> None:
    folder = Path(sys.argv[1])
    sample, results = rows.read(folder / rows.SAMPLE), rows.read(folder / rows.RESULTS)
    equivalent, reasons = (rows.explained(name) for name in (rows.EQUIVALENT, rows.MISSED))
    tried = {row["id"] for row in results if "id" in row}
    after = {row["id"] for row in rows.caught(results)}
    before = {row["id"] for row in rows.caught(results) if row["at"] == sample[0]["commit"]}
    mutants = [mutant for mutant in sample if mutant["id"] in tried or rows.key(mutant) in equivalent]
    missed = [mutant for mutant in mutants if mutant["id"] not in after]
    same = [mutant for mutant in missed if rows.key(mutant) in equivalent]
    print(f"# Mutants\n\n{len(mutants)} small faults in the code of {sample[0]['commit'][:7]}, one at a time.")
    if any(row["at"] != sample[0]["commit"] for row in results):
        print("What no test of its time noticed was tried again, as the same fault in later code and with its tests.")
    print("Noticed: a test of the fault's own room, or of a floor that uses it, failed.")
    print("Equivalent: what the code does is the same, so nothing can notice it; not counted.\n")
    print(table(mutants, {mutant["id"] for mutant in same}, before, after))
    print("\n## Not noticed\n")
    print(*(line(mutant, reasons.get(rows.key(mutant), "")) for mutant in missed if mutant not in same), sep="\n")
    print("\n## Equivalent\n")
    print(*(line(mutant, equivalent[rows.key(mutant)]) for mutant in same), sep="\n")


def table(mutants: list[dict[str, Any]], equivalent: set[int], before: set[int], after: set[int]) -> str:
    """A row for each floor, and one for all."""
    lines = ["| floor | mutants | equivalent | noticed before | after |", "|---|---|---|---|---|"]
    for floor in [*dict.fromkeys(mutant["floor"] for mutant in mutants), "all"]:
        here = {mutant["id"] for mutant in mutants if floor in (mutant["floor"], "all")}
        counted = here - equivalent
        shares = (f"{len(some & counted)}, {len(some & counted) / len(counted):.1%}" for some in (before, after))
        lines.append(f"| {floor} | {len(here)} | {len(here & equivalent)} | {' | '.join(shares)} |")
    return "\n".join(lines)


def line(mutant: dict[str, Any], why: str) -> str:
    was, now = (" ".join(mutant[side].split()) for side in ("was", "now"))
    return f"- `{mutant['path']}:{mutant['line']}` `{was}` -> `{now}`" + (f": {why}" if why else "")


if __name__ == "__main__":
    main()
