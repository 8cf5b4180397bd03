"""What every command of `resnest` shares: its errors, its exit statuses, its tables."""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import click
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from resnest.jobs.parity import Difference

BROKEN_BOUND = 1
FAULT = 70
"""EX_SOFTWARE of sysexits.h; bad input is 2."""

INTERRUPTED = 130
"""128 and the number of Ctrl-C's signal, as shells have it."""

_NO_MEMORY = ("can't allocate memory", "out of memory", "Unable to allocate")

console = Console(width=None if sys.stdout.isatty() else 100)
errors = Console(stderr=True)


class BadInput(click.ClickException):
    """What the user gave cannot be used; the message is one sentence."""

    exit_code = 2


class Fault(click.ClickException):
    """What the user gave may be right, and this package is wrong."""

    exit_code = FAULT


class Command(click.Command):
    """A command that ends in one sentence and an exit status that says whose fault it is, not in a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.EPIPE:
                raise  # who read our output has had enough of it
            if context.find_root().params.get("traceback"):
                traceback.print_exc()
            raise sentence(error) from error


def sentence(error: Exception) -> click.ClickException:
    """What ends a command in place of `error`: one sentence, and whose fault it is."""
    said = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(words in said for words in _NO_MEMORY):
        return BadInput(f"there is not memory enough for this; give a smaller size or batch ({said})")
    if isinstance(error, (ValueError, OSError, ImportError)):
        return BadInput(said)
    return Fault(
        f"a fault of this package, not of yours: {type(error).__name__}: {said} (resnest --traceback shows where)"
    )


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
