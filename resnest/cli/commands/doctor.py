"""`resnest doctor`."""

from __future__ import annotations

import dataclasses

import click
from rich.text import Text

from resnest.cli.terminal import BROKEN_BOUND, Command, console, errors, print_json


@click.command("doctor", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of lines.")
def command(as_json: bool) -> None:
    """Say what works on this machine, what does not, why, and the command that mends it.

    Each backend that is installed predicts once. Exit status 1 where something that is installed does not work, or no
    backend does.

    Example: resnest doctor
    """
    from resnest.jobs.doctor import BROKEN, MISSING, WORKS, examine, healthy

    marks = {WORKS: ("works  ", "green"), MISSING: ("missing", "yellow"), BROKEN: ("broken ", "red")}
    found = []
    with errors.status("looking") as status:
        for one in examine(lambda what: status.update(f"looking at: {what}")):
            found.append(one)
            if not as_json:
                mend = f"\n{'':22}{one.mend}" if one.mend else ""
                line = Text.assemble(marks[one.state], f" {one.what:14}{one.detail}{mend}")
                console.print(line, soft_wrap=True, highlight=False)
    if as_json:
        print_json([dataclasses.asdict(one) for one in found])
    if not healthy(found):
        raise click.exceptions.Exit(BROKEN_BOUND)
