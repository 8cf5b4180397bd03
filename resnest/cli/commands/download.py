"""`resnest download`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from resnest.cli.paths import Output
from resnest.cli.terminal import Command
from resnest.cli.values import CLASSIFIER, Word
from resnest.weights.published import pretrained
from resnest.weights.published.pretrained import SOURCES


@click.command("download", cls=Command)
@click.argument("name", type=CLASSIFIER)
@click.option("--source", type=Word(SOURCES), help="Whose weights; without it the first that has them.")
@click.option(
    "--verify", is_flag=True, help="Read a file that is there to its last byte, and download a damaged one again."
)
@click.option(
    "--root",
    type=Output("folder", file=False, folder=True),
    help="Folder to keep files in.  [default: ~/.cache/resnest]",
)
def command(name: str, source: str | None, verify: bool, root: Path | None) -> None:
    """Download published weights of the network NAME, unless they are there, and print where they are.

    Example: resnest download resnest50 --source timm
    """
    click.echo(os.fsencode(pretrained.download(name, source, root=root, verify=verify)))
