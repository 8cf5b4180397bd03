"""`resnest export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from resnest.backends import registry
from resnest.backends.processor import OWN, check_dtype
from resnest.cli.options import output_stride_option, pretrained_option, weight_file, which_option
from resnest.cli.paths import Input, Output, Weights, check_outputs
from resnest.cli.terminal import Command, console, difference_table, errors, exit_status
from resnest.cli.values import NETWORK, Size, Word
from resnest.specs import find
from resnest.specs.protocols import preparation

_FORMATS = ["onnx", *(format for row in registry.BACKENDS.values() for format in row.formats)]


@click.command("export", cls=Command)
@click.argument("name", type=NETWORK)
@click.option("--format", type=Word(_FORMATS), required=True)
@click.option("-o", "--output", type=Output("network file"), help="The file; without it NAME in the current folder.")
@click.option("--weights", type=Weights(), help="A weight file; without it seeded weights are drawn.")
@pretrained_option
@which_option
@output_stride_option
@click.option(
    "--size",
    type=Size(),
    metavar="HEIGHTxWIDTH",
    help="Images are of this size alone; without it of any. A segmenter in MXNet's format needs it.",
)
@click.option(
    "--deploy/--no-deploy",
    default=None,
    help="With or without batch norms folded; without it folded for ONNX and for folded weights.",
)
@click.option(
    "--int8",
    type=Input("folder of photos", file=False, folder=True),
    help="A folder of photos: write ONNX as INT8, calibrated on them. What is checked is what it was made from.",
)
@click.option(
    "--dtype",
    type=Word([*OWN]),
    help="What the file computes in; it takes and gives float32 all the same. ONNX in float16 alone.",
)
def command(
    name: str,
    format: str,
    output: Path | None,
    weights: Path | None,
    pretrained: str | None,
    which: str | None,
    output_stride: int | None,
    size: tuple[int, int] | None,
    deploy: bool | None,
    int8: Path | None,
    dtype: str | None,
) -> None:
    """Write the network NAME as a file that runs without this package, and check it against the model.

    A detector's file takes one image and its height and width without padding, (1, 2), and gives boxes, scores,
    labels, and of a family with masks their probabilities, 28 x 28 in each box. A segmenter's logits are of the
    image's size.

    Example: resnest export resnest50 --pretrained --format onnx
    """
    from resnest.jobs.export import files
    from resnest.jobs.export.int8 import export_int8
    from resnest.jobs.parity import open_network
    from resnest.weights.published.pretrained import protocol_of
    from resnest.weights.saved import spec_beside

    spec: Any = find(name)
    spec = spec_beside(weights, spec.name) or spec
    photos = [] if int8 is None else _calibration(int8, spec, format, dtype)
    if output_stride is not None:
        spec = spec.at_stride(output_stride)
    end = files.suffix(format) if int8 is None else "-int8.onnx"
    path = Path(f"{spec.name}{end}") if output is None else output
    outputs = dict(zip(("the network", "the tensors beside it"), files.written(path, format)))
    inputs = {} if weights is None else {"the weights": weights}
    check_outputs(outputs, inputs)
    files.check(spec, format, size, dtype)
    if dtype is not None:
        _tell_of_slowness(dtype, path)
    weights = weight_file(name, weights, pretrained)
    folded = True if deploy is None and format == "onnx" else deploy
    spec, tensors = open_network(spec, weights, folded, which=which)
    form = "deploy form" if spec.deploy else "training form"
    origin = "seeded weights" if weights is None else f"weights of {weights.name}"
    note = "" if dtype is None else f", computes in {dtype}"
    if int8 is None:
        with errors.status(f"writing and checking {path.name}"):
            rows = files.export(spec, tensors, path, format, size, dtype)
    else:
        how = preparation(protocol_of(weights), spec.image_size, spec.name)
        with errors.status(f"writing, checking and calibrating {path.name}"):
            rows, error = export_int8(spec, tensors, path, photos, how)
        note = (
            f"; INT8: over {error.photos} photos logits are {error.relative:.1e} off and"
            f" {error.same_class:.0%} keep their class"
        )
    click.echo(f"{path}: {spec.name}, {form}, {origin}, {path.stat().st_size / 1e6:.1f} MB{note}")
    console.print(difference_table(rows))
    exit_status(rows)


def _tell_of_slowness(dtype: str, path: Path) -> None:
    """A file may be for another machine than this one, so that nothing is refused."""
    try:
        check_dtype(dtype)
    except ValueError as error:
        errors.print(f"{path.name} is for another processor: {error}", soft_wrap=True, markup=False, highlight=False)


def _calibration(folder: Path, spec: Any, format: str, dtype: str | None) -> list[Path]:
    """The photos in a folder that INT8 is calibrated on; ValueError where the network cannot be written so."""
    from resnest.data.photos import find_photos
    from resnest.jobs.export.int8 import check
    from resnest.jobs.export.tasks import TASKS

    if format != "onnx":
        raise ValueError(f"--int8 goes with --format onnx, not with {format}")
    if dtype is not None:
        raise ValueError(f"--int8 and --dtype {dtype} are two ways of rounding: take one")
    if TASKS[type(spec)].onnx is not None:  # what is rounded is a graph of our own
        raise ValueError(f"--int8 goes with a classifier, and {spec.name} is none")
    photos = find_photos(folder)
    check(photos)
    return photos
