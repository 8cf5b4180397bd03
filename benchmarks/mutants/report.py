"""Write down what came of the mutants.

    python benchmarks/mutants/report.py SAMPLE RESULTS > benchmarks/results/mutants.md

The score is the share of mutants that a test noticed, of all that change what the code does; `equivalent.json` holds
those that do not, each with why. Where RESULTS hold a mutant twice, its first row is "before", its last one "after".
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

EQUIVALENT = Path(__file__).with_name("equivalent.json")


def main() -> None:
    sample, results = (read(path) for path in sys.argv[1:])
    reasons = {key(row): row["why"] for row in json.loads(EQUIVALENT.read_text())}
    first = {row["id"]: row["caught"] for row in reversed(results)}
    last = {row["id"]: row["caught"] for row in results}
    tried = [mutant | {"why": reasons.get(key(mutant))} for mutant in sample if mutant["id"] in last]
    print(f"# Mutants\n\n{len(tried)} small faults in the code of {sample[0]['commit'][:7]}, one at a time.")
    print("Noticed: a test of the fault's own room, or of a floor that uses it, failed.\n")
    print(table(tried, first, last))
    missed = [mutant for mutant in tried if not last[mutant["id"]]]
    print("\n## Not noticed\n")
    print("\n".join(line(mutant) for mutant in missed if not mutant["why"]))
    print("\n## Equivalent\n")
    print("\n".join(f"{line(mutant)}: {mutant['why']}" for mutant in missed if mutant["why"]))


def read(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["path"], row["was"], row["now"]


def table(tried: list[dict[str, Any]], first: dict[int, str | None], last: dict[int, str | None]) -> str:
    """A row for each floor, and one for all."""
    rows = ["| floor | mutants | equivalent | noticed before | after |", "|---|---|---|---|---|"]
    for floor in [*dict.fromkeys(mutant["floor"] for mutant in tried), "all"]:
        here = [mutant for mutant in tried if floor in (mutant["floor"], "all")]
        counted = [mutant for mutant in here if last[mutant["id"]] or not mutant["why"]]
        shares = [share(bool(caught[mutant["id"]]) for mutant in counted) for caught in (first, last)]
        rows.append(f"| {floor} | {len(here)} | {len(here) - len(counted)} | {' | '.join(shares)} |")
    return "\n".join(rows)


def share(noticed: Iterable[bool]) -> str:
    kept = list(noticed)
    return f"{sum(kept)} of {len(kept)}, {sum(kept) / max(1, len(kept)):.1%}"


def line(mutant: dict[str, Any]) -> str:
    was, now = (" ".join(mutant[side].split()) for side in ("was", "now"))
    return f"- `{mutant['path']}:{mutant['line']}` `{was}` -> `{now}`"


if __name__ == "__main__":
    main()
