"""`resnest cache`."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import Any

import click

from resnest.cli.paths import Output
from resnest.cli.terminal import BROKEN_BOUND, Command, console, errors, make_table, print_json
from resnest.cli.values import Pattern


@click.command("cache", cls=Command)
@click.argument("pattern", type=Pattern(), required=False)
@click.option("--verify", is_flag=True, help="Read each file to its last byte, and say which are damaged.")
@click.option("--remove", is_flag=True, help="Delete what PATTERN fits; with --verify of it what is damaged.")
@click.option(
    "--root",
    type=Output("folder", file=False, folder=True),
    help="The folder that files are kept in.  [default: ~/.cache/resnest]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(pattern: str | None, verify: bool, remove: bool, root: Path | None, as_json: bool) -> None:
    """List the published weights that are on this machine, of all networks or of those that PATTERN fits.

    Exit status 1 where a file is damaged.

    Example: resnest cache "resnest50*" --verify
    """
    from resnest.weights.published import cache

    if remove and pattern is None:
        raise ValueError('--remove deletes what a pattern fits: say which, or "*" for all')
    found = [one for one in cache.cached(root) if fnmatch.fnmatch(one.row.variant, pattern or "*")]
    rows: list[dict[str, Any]] = []
    for one in found:
        state = "whole" if one.whole else "a part"
        if verify and one.whole:
            with errors.status(f"reading {one.path.name}"):
                state = "damaged" if cache.damaged(one) else "verified"
        if remove and (not verify or state in ("damaged", "a part")):
            cache.remove(one)
            state += ", removed"
        rows.append(
            {
                "model": one.row.variant,
                "source": one.row.source,
                "bytes": one.bytes,
                "state": state,
                "path": str(one.path),
            }
        )
    print_json(rows) if as_json else _print(rows)
    if any(row["state"] == "damaged" for row in rows):
        raise click.exceptions.Exit(BROKEN_BOUND)


def _print(rows: list[dict[str, Any]]) -> None:
    table = make_table("model", "source", "size", "state", "file")
    table.columns[-1].justify = "left"
    for row in rows:
        table.add_row(row["model"], row["source"], f"{row['bytes'] / 1e6:.1f} MB", row["state"], row["path"])
    console.print(table if rows else "nothing is there", soft_wrap=True)
