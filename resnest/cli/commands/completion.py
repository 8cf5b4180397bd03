"""`resnest completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from resnest.cli.terminal import Command
from resnest.cli.values import Word


@click.command("completion", cls=Command)
@click.argument("shell", type=Word(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> None:
    """Print what makes SHELL (bash, zsh or fish) complete commands, options and names of networks.

    Put it into the file that the shell reads when it starts: ~/.bashrc, ~/.zshrc or
    ~/.config/fish/completions/resnest.fish.

    Example: resnest completion bash
    """
    script = get_completion_class(shell)
    assert script is not None  # Click has all three
    click.echo(script(context.find_root().command, {}, "resnest", "_RESNEST_COMPLETE").source())
