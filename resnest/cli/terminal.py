"""What every command of `resnest` shares: its errors, its exit statuses, its tables."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import math
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import click
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from resnest.cli.paths import check_given
from resnest.cli.values import check_device

if TYPE_CHECKING:
    from resnest.jobs.parity import Difference

BROKEN_BOUND = 1
FAULT = 70
"""EX_SOFTWARE of sysexits.h; bad input is 2."""

INTERRUPTED = 130
"""128 and the number of Ctrl-C's signal, as shells have it."""

CUT_OFF = 141
"""128 and the number of the signal that ends who writes into a pipe that nobody reads."""

_NO_MEMORY = ("can't allocate memory", "out of memory", "Unable to allocate")

_UNBROKEN = 10_000
"""Characters of a line that goes to a file or another program, which are not there to be looked at."""

for _name in ("stdout", "stderr"):
    if getattr(sys, _name) is None:  # the shell closed it: what is written next must not land in a file of ours
        setattr(sys, _name, open(os.devnull, "w"))  # noqa: SIM115  # open as long as the process


class _Console(Console):
    """One that obeys nothing in a status, which has names of files in it, and leaves a closed pipe to the command."""

    def status(self, status: Any, **how: Any) -> Status:
        return super().status(Text(one_line(status)), **how)

    def print(self, *objects: Any, **how: Any) -> None:
        """Rich's, but a table is as wide as it is: a narrower terminal breaks its lines, and cuts no figure off."""
        endless = self.options.update(max_width=_UNBROKEN)
        tables = [one for one in objects if isinstance(one, Table)]
        before, self.width = (
            self.width,
            max([self.width, *(self.measure(one, options=endless).maximum for one in tables)]),
        )
        try:
            super().print(*objects, **({"crop": False} if tables else {}) | how)
        finally:
            self.width = before

    def on_broken_pipe(self) -> NoReturn:
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


console = _Console(width=None if sys.stdout.isatty() else _UNBROKEN)
_one_terminal = sys.stdout.isatty() and sys.stderr.isatty() and os.path.sameopenfile(1, 2)
errors = console if _one_terminal else _Console(stderr=True)  # one writer, or a line would land behind a moving status


class BadInput(click.ClickException):
    """What the user gave cannot be used; the message is one sentence."""

    exit_code = 2


class Fault(click.ClickException):
    """What the user gave may be right, and this package is wrong."""

    exit_code = FAULT


class Ending(click.Command):
    """Ends the process with one sentence, if there is something to say, and with the status that says whose fault."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **how: Any,
    ) -> Any:
        """Click's, which would show how a command is used above each sentence, and end with 1 for Ctrl-C."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **how)
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")  # what a terminal has no letters for
        try:
            status = super().main(args, prog_name, complete_var, standalone_mode=False, **how)
            sys.stdout.flush()  # or what could not be written would be lost without a word
        except click.ClickException as error:
            status = error.exit_code
            _show(error)
        except click.Abort:
            status = INTERRUPTED
        except BrokenPipeError:
            status = CUT_OFF
        except SystemExit as ended:  # 1 is Click's, where its help meets a closed pipe; MXNet's servers end with None
            status = CUT_OFF if ended.code == 1 else ended.code or 0
        except OSError as error:  # of help that cannot be written
            status = BadInput.exit_code
            _show(sentence(error))
        _let_go()
        sys.exit(status if isinstance(status, int) else 0)


class _Once(logging.Filter):
    """Lets a message through once: a command may read a file several times."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        new = message not in self.said
        self.said.add(message)
        return new


@contextlib.contextmanager
def _said_once() -> Iterator[None]:
    """Inside, a warning is printed once, by the handler that prints where nobody has set up logging."""
    last, once = logging.lastResort, _Once()
    if last is not None:
        last.addFilter(once)
    try:
        yield
    finally:
        if last is not None:
            last.removeFilter(once)


class Command(Ending):
    """A command that ends in one sentence and an exit status that says whose fault it is, not in a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            check_given(self, context.params)
            check_device(self, context.params)
            with _said_once():
                return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            raise click.exceptions.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise click.exceptions.Exit(CUT_OFF) from None  # who read our output has had enough of it
        except Exception as error:
            if context.find_root().params.get("traceback"):
                traceback.print_exc()
            raise sentence(error) from error


def _show(error: click.ClickException) -> None:
    """Say on one line what went wrong; Click's own help where it has nothing else to say."""
    if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        error.show()
        return
    hint = ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f" ({error.ctx.command_path} --help says what there is)"
    said = one_line(error.format_message())
    click.echo(f"Error: {said.rstrip('.') if hint else said}{hint}", err=True)


def _let_go() -> None:
    """Where no more can be written, write the rest nowhere: Python would say so again, and end with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def sentence(error: Exception) -> click.ClickException:
    """What ends a command in place of `error`: one sentence, and whose fault it is."""
    said = one_line(str(error)) or type(error).__name__
    if isinstance(error, MemoryError) or any(words in said for words in _NO_MEMORY):
        return BadInput(f"there is not memory enough for this; give a smaller size or batch ({said})")
    if "DataLoader worker" in said:
        return BadInput(
            "a process that reads images was ended by the system: give more shared memory"
            f" (docker run --shm-size), or workers=0 to do without ({said})"
        )
    if isinstance(error, (ValueError, OSError, ImportError)):
        return BadInput(said)
    return Fault(
        f"a fault of this package, not of yours: {type(error).__name__}: {said} (resnest --traceback shows where)"
    )


def one_line(words: str) -> str:
    """On one line, and nothing in it that a terminal would obey or could not show: names of files hold anything."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in " ".join(words.split()))


def print_json(value: Any) -> None:
    """Print JSON on stdout; numbers that it has no word for (nan, inf) are null."""
    click.echo(to_json(value))


def to_json(value: Any) -> str:
    """JSON; numbers that it has no word for (nan, inf) are null."""
    return json.dumps(_finite(value), indent=1, allow_nan=False)


def write_json(value: Any, path: Path) -> None:
    """Write what `to_json` makes of it, whole or not at all."""
    from resnest.weights.formats.atomic import replacing

    with replacing(path) as file:
        file.write(to_json(value).encode() + b"\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class _PlainTable(Table):
    """A table whose words mean themselves, not colours: names of files may have brackets."""

    def add_row(self, *cells: Any, **how: Any) -> None:
        super().add_row(*(Text(one_line(cell)) if isinstance(cell, str) else cell for cell in cells), **how)


def make_table(*columns: str) -> Table:
    table = _PlainTable(box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    return table


def verdict(within: bool) -> Text:
    """How a table says whether a difference is within its bound."""
    return Text("same", "green") if within else Text("differs", "red")


def difference_table(rows: Sequence[Difference]) -> Table:
    """The rows, each with the backend that it is of where there is more than one."""
    several = len({row.backend for row in rows}) > 1
    table = make_table("what", *(["backend"] if several else []), "shape", "absolute", "relative", "bound", "")
    for row in rows:
        bound, judged = ("", Text()) if row.bound is None else (f"{row.bound:.0e}", verdict(row.within))
        shape = "x".join(map(str, row.shape))
        figures = f"{row.absolute:.1e}", f"{row.relative:.1e}"
        table.add_row(row.name, *([row.backend] if several else []), shape, *figures, bound, judged)
    return table


class Judged(Protocol):
    """A comparison that is within its bound, or not."""

    @property
    def within(self) -> bool: ...


def exit_status(rows: Iterable[Judged]) -> None:
    """End the command with the status of a broken bound where a difference is not within its own."""
    if not all(row.within for row in rows):
        raise click.exceptions.Exit(BROKEN_BOUND)
