"""`resnest inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from resnest.cli.options import which_option
from resnest.cli.paths import Weights
from resnest.cli.terminal import BROKEN_BOUND, Command, console, errors, print_json

MOST_NAMED = 5
"""So many of the tensors that are left over are named; --json names all."""


@click.command("inspect", cls=Command)
@click.argument("file", type=Weights())
@which_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def command(file: Path, which: str | None, as_json: bool) -> None:
    """Say what the weight file FILE is: its names, its network, what is missing in it or left over, its hash.

    Of a folder the weights in it are meant. No framework is needed, and nothing in the file is run. Exit status 1
    where it is not all of a ResNeSt.

    Example: resnest inspect checkpoint.pth
    """
    from resnest.weights.inspect import inspect

    with errors.status(f"reading {file.name}"):
        found = inspect(file, which=which)
    (print_json if as_json else _print)(_facts(found))
    if found.complaint is not None:
        raise click.exceptions.Exit(BROKEN_BOUND)


def _facts(found: Any) -> dict[str, Any]:
    from resnest.weights.published.pretrained import CHECKPOINTS

    spec = found.network
    published = next((row for row in CHECKPOINTS if row.hash and _is(row, found.hashes)), None)
    network: dict[str, Any] = {}
    if spec is not None:
        network = {
            "network": spec.name,
            "classes": spec.num_classes,
            "input channels": spec.in_channels,
            "form": "deploy form: batch norms folded" if spec.deploy else "training form",
        }
    return {
        "file": str(found.path),
        "bytes": found.bytes,
        "tensors": found.tensors,
        "numbers": dict(found.dtypes),
        "wrapped in": list(found.wrappers),
        "dialect": found.dialect,
        **network,
        "left over": list(found.left_over),
        "complaint": found.complaint,
        "published as": f"{published.variant} of {published.source}" if published else None,
        **found.hashes,
    }


def _is(row: Any, hashes: dict[str, str]) -> bool:
    return hashes[row.expected.algorithm].startswith(row.hash)


def _print(facts: dict[str, Any]) -> None:
    width = max(map(len, facts)) + 2
    for name, value in facts.items():
        if value in (None, [], {}):
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{count:,} of {dtype}" for dtype, count in value.items())
        elif isinstance(value, list):
            rest = f" and {len(value) - MOST_NAMED} more" if len(value) > MOST_NAMED else ""
            value = ", ".join(value[:MOST_NAMED]) + rest
        elif name == "bytes":
            value = f"{value:,}"
        console.print(f"{name:{width}}{value}", soft_wrap=True, markup=False, highlight=False)
