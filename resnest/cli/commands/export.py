"""`resnest export`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from resnest.cli.terminal import BROKEN_BOUND, Command, console, difference_table, errors
from resnest.specs.resnest import get_spec


@click.command(cls=Command)
@click.argument("name")
@click.option("--format", type=click.Choice(["onnx", "torchscript", "pt2", "mxnet"]), required=True)
@click.option("--output", type=click.Path(path_type=Path), help="The file; without it NAME in the current folder.")
@click.option("--weights", type=click.Path(path_type=Path), help="A weight file; without it seeded weights are drawn.")
@click.option("--output-stride", type=int, default=32, show_default=True, help="32, or 16 and 8 for dilated networks.")
@click.option(
    "--deploy/--no-deploy",
    default=None,
    help="With or without batch norms folded; without it folded for ONNX and for folded weights.",
)
@click.option(
    "--int8", type=click.Path(path_type=Path), help="A folder of photos: write ONNX as INT8, calibrated on them."
)
def export(
    name: str,
    format: str,
    output: Path | None,
    weights: Path | None,
    output_stride: int,
    deploy: bool | None,
    int8: Path | None,
) -> None:
    """Write the network NAME as a file that runs without this package, and check it against the model."""
    from resnest.data.photos import find_photos
    from resnest.jobs.export import files
    from resnest.jobs.export.int8 import quantize
    from resnest.weights import load
    from resnest.weights.recognition.backbone import is_folded, recognise
    from resnest.weights.seeded import draw_weights

    if int8 is not None and format != "onnx":
        raise ValueError(f"--int8 goes with --format onnx, not with {format}")
    photos = [] if int8 is None else find_photos(int8)
    spec = get_spec(name, output_stride=output_stride)
    tensors = draw_weights(spec) if weights is None else load(weights)
    found = recognise({tensor: array.shape for tensor, array in tensors.items()})
    deploy = format == "onnx" or is_folded(tensors) if deploy is None else deploy
    spec = dataclasses.replace(spec, num_classes=found.num_classes, in_channels=found.in_channels, deploy=deploy)
    path = Path(f"{spec.name}{files.suffix(format)}") if output is None else output
    with errors.status(f"writing and checking {path.name}"):
        rows = files.export(spec, tensors, path, format)
    form = "deploy form" if spec.deploy else "training form"
    origin = "seeded weights" if weights is None else f"weights of {weights.name}"
    click.echo(f"{path}: {spec.name}, {form}, {origin}, {path.stat().st_size / 1e6:.1f} MB")
    console.print(difference_table(rows))
    if int8 is not None:
        target = path.with_name(f"{path.stem}-int8.onnx")
        with errors.status(f"calibrating {target.name}"):
            error = quantize(path, target, photos, spec.image_size)
        click.echo(
            f"{target}: INT8, {target.stat().st_size / 1e6:.1f} MB; over {error.photos} photos"
            f" logits are {error.relative:.1e} off and {error.same_class:.0%} keep their class"
        )
    if not all(row.within for row in rows):
        raise click.exceptions.Exit(BROKEN_BOUND)
