"""`resnest convert`."""

from __future__ import annotations

from pathlib import Path

import click

from resnest.cli.options import which_option
from resnest.cli.paths import Input, Output
from resnest.cli.terminal import Command, console, difference_table, errors, exit_status
from resnest.cli.values import Word
from resnest.weights.formats.files import WRITABLE
from resnest.weights.formats.tensors import REAL
from resnest.weights.names.backbone import ALIASES, DIALECTS


@click.command("convert", cls=Command)
@click.argument("source", type=Input("weight file"))
@click.argument("target", type=Output("weight file", suffixes=WRITABLE))
@click.option(
    "--dialect",
    type=Word([*DIALECTS, *ALIASES]),
    help="Names to write; without it Gluon's for .params and PyTorch's for the others.",
)
@click.option("--backbone", is_flag=True, help="Take the backbone alone, without any head or classifier.")
@which_option
@click.option("--dtype", type=Word(REAL), help="Round the weights to it; without it they stay as they are.")
@click.option("--verify", is_flag=True, help="Load both files and compare their logits.")
def command(
    source: Path,
    target: Path,
    dialect: str | None,
    backbone: bool,
    which: str | None,
    dtype: str | None,
    verify: bool,
) -> None:
    """Rewrite the weight file SOURCE as TARGET (.safetensors, .npz, .pth, .params).

    Example: resnest convert resnest50.params resnest50.safetensors --verify
    """
    from resnest import weights

    with errors.status(f"converting {source.name}"):
        spec = weights.convert(source, target, dialect=dialect, backbone=backbone, which=which, dtype=dtype)
    click.echo(f"{target}: {spec.name}, {len(spec.tensors())} tensors, {target.stat().st_size / 1e6:.1f} MB")
    if verify:
        from resnest.jobs.parity import verify_conversion

        with errors.status("comparing logits"):
            row = verify_conversion(source, target, backbone=backbone, which=which, dtype=dtype)
        console.print(difference_table([row]))
        exit_status([row])
