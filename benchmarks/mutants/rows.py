"""Files of one JSON row a line, and the code of a commit: all that the steps of `make mutants` share."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

SAMPLE, RESULTS = "sample.jsonl", "results.jsonl"
"""What lies in the folder that the steps share, beside a file of `cover` for each commit."""


EQUIVALENT, MISSED = "equivalent.json", "missed.json"
"""What is explained: mutants that do the same, and others that no test is to notice."""


def cover(folder: Path, commit: str) -> Path:
    return folder / f"cover-{commit[:12]}.jsonl"


def read(path: Path) -> list[dict[str, Any]]:
    """The rows that are there; one that was cut when its writer was killed is none."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def append(path: Path, *new: dict[str, Any]) -> None:
    """Add rows at once, after what is there, be its last row whole or cut. Several processes may do so."""
    with open(path, "ab", buffering=0) as file:
        file.write(b"".join(b"\n" + json.dumps(row).encode() for row in new) + b"\n")


def caught(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of mutants that a test noticed, without tests that fail on the code as it is."""
    proves_nothing = {(row["at"], row["unreliable"]) for row in results if "unreliable" in row}
    return [row for row in results if row.get("caught") and (row["at"], row["caught"]) not in proves_nothing]


def explained(name: str) -> dict[tuple[str, str, str], str]:
    """Of mutants that are explained in a file beside this one: which it is -> why."""
    return {key(row): row["why"] for row in json.loads(Path(__file__).with_name(name).read_text())}


def key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["path"], row["was"], row["now"]


def commit(name: str) -> str:
    return git("rev-parse", "--verify", f"{name}^{{commit}}")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def code(at: str, path: str) -> str | None:
    """A file of a commit; None where that has no such file."""
    shown = subprocess.run(["git", "show", f"{at}:{path}"], capture_output=True, text=True)
    return None if shown.returncode else shown.stdout


def difference(before: str, after: str) -> tuple[int, str, str]:
    """The number of the first line that differs, and what differs from there, before and after."""
    old, new = before.splitlines(), after.splitlines()
    first = next(number for number, (a, b) in enumerate(zip([*old, None], [*new, None])) if a != b)
    last = next(number for number, (a, b) in enumerate(zip(old[::-1], new[::-1])) if a != b)
    was, now = (" ".join(line.strip() for line in lines[first : len(lines) - last]) for lines in (old, new))
    return first + 1, was, now
