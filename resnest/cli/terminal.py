"""What every command of `resnest` shares: its errors, its exit statuses, its tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import click
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from resnest.jobs.parity import Difference

BROKEN_BOUND = 1

console = Console(width=None if sys.stdout.isatty() else 100)
errors = Console(stderr=True)


class BadInput(click.ClickException):
    """What the user gave cannot be used; the message is one sentence."""

    exit_code = 2


class Command(click.Command):
    """A command whose bad input is one sentence and exit status 2, not a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (ValueError, OSError, ImportError) as error:
            raise BadInput(" ".join(str(error).split())) from error


def make_table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def difference_table(rows: Sequence[Difference]) -> Table:
    """The rows, each with the backend that it is of where there is more than one."""
    several = len({row.backend for row in rows}) > 1
    table = make_table("what", *(["backend"] if several else []), "shape", "absolute", "relative", "bound", "")
    for row in rows:
        verdict = "[green]same[/]" if row.within else "[red]differs[/]"
        bound, verdict = ("", "") if row.bound is None else (f"{row.bound:.0e}", verdict)
        shape = "x".join(map(str, row.shape))
        figures = f"{row.absolute:.1e}", f"{row.relative:.1e}"
        table.add_row(row.name, *([row.backend] if several else []), shape, *figures, bound, verdict)
    return table


class Judged(Protocol):
    """A comparison that is within its bound, or not."""

    @property
    def within(self) -> bool: ...


def exit_status(rows: Iterable[Judged]) -> None:
    """End the command with the status of a broken bound where a difference is not within its own."""
    if not all(row.within for row in rows):
        raise click.exceptions.Exit(BROKEN_BOUND)
