"""`resnest download`."""

from __future__ import annotations

from pathlib import Path

import click

from resnest.cli.terminal import Command


@click.command("download", cls=Command)
@click.argument("name")
@click.option(
    "--source", help="Whose weights: authors-torch, timm or authors-gluon; without it the first that has them."
)
@click.option(
    "--verify", is_flag=True, help="Read a file that is there to its last byte, and download a damaged one again."
)
@click.option("--root", type=click.Path(path_type=Path), help="Folder to keep files in.  [default: ~/.cache/resnest]")
def command(name: str, source: str | None, verify: bool, root: Path | None) -> None:
    """Download published weights of the network NAME, unless they are there, and print where they are."""
    from resnest.weights.published import pretrained

    click.echo(pretrained.download(name, source, root=root, verify=verify))
