"""`resnest parity`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click
from rich.text import Text

from resnest.cli.options import output_stride_option, pretrained_option, weight_file, which_option
from resnest.cli.parts import part_of
from resnest.cli.paths import Input, Output, Weights
from resnest.cli.terminal import (
    Command,
    console,
    difference_table,
    errors,
    exit_status,
    make_table,
    print_json,
    verdict,
)
from resnest.cli.values import NETWORK, SIDE, Word
from resnest.jobs.pictures import PICTURES, figure
from resnest.specs import find, get_spec
from resnest.specs.protocols import DEFAULT, PROTOCOLS, preparation


@click.command("parity", cls=Command)
@click.argument("name", type=NETWORK)
@click.option("--weights", type=Weights(), help="A weight file; without it seeded weights are drawn.")
@pretrained_option
@which_option
@click.option("--image", type=Input("photo"), help="A photo; without it the one that comes with the package.")
@click.option(
    "--protocol",
    type=Word([*PROTOCOLS]),
    help=f"How the photo is prepared; without it as published weights were evaluated, and {DEFAULT} for others.",
)
@click.option("--dtype", type=Word(["float32", "float64"]), help="Without it float32, or float64 with --steps.")
@click.option(
    "--size", type=SIDE, help="Side of the image in pixels; without it the published one, or 64 with --steps."
)
@output_stride_option
@click.option("--deploy", is_flag=True, help="Compare the deploy forms, with batch norms folded.")
@click.option("--train", is_flag=True, help="Compare one training step too: loss, gradients, running statistics.")
@click.option("--steps", type=click.IntRange(2, 100_000), help="Train this many steps instead, and compare after each.")
@click.option(
    "--plot",
    "plot_path",
    type=Output("picture", suffixes=PICTURES),
    help="With --steps: draw both curves (.svg, .png).",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every tensor on its own, instead of tables.")
def command(
    name: str,
    weights: Path | None,
    pretrained: str | None,
    which: str | None,
    image: Path | None,
    protocol: str | None,
    dtype: str | None,
    size: int | None,
    output_stride: int | None,
    deploy: bool,
    train: bool,
    steps: int | None,
    plot_path: Path | None,
    as_json: bool,
) -> None:
    """Run the network NAME in both backends, with the same weights and image, and say how far apart they are.

    Example: resnest parity resnest50 --pretrained --dtype float64
    """
    if steps is not None and (deploy or train):
        raise ValueError("--steps trains, and a network in deploy form has no training: leave --deploy and --train")
    if steps is not None and protocol is not None:
        raise ValueError("--protocol prepares a photo to be evaluated, and --steps augments it: leave --protocol")
    if steps is None and plot_path is not None:
        raise ValueError("--plot draws the curves of a training: say --steps 20 too")
    weights = weight_file(name, weights, pretrained)
    if steps is not None:
        how = dtype or "float64", size or 64, output_stride, steps, plot_path, as_json
        return _curves(name, weights, which, image, *how)
    dtype = dtype or "float32"
    from resnest.data.photos import load_image
    from resnest.jobs import parity
    from resnest.weights.published.pretrained import protocol_of

    spec = find(name)
    if output_stride is not None:
        spec = spec.at_stride(output_stride)
    spec = spec.in_form(deploy)
    size = spec.image_size if size is None else size
    spec.check_size(size, size)
    photo = load_image(image, preparation(protocol or protocol_of(weights), size, spec.name)).astype(dtype)
    with errors.status("") as status:

        def progress(step: str) -> None:
            status.update(f"{spec.name} at {size}x{size} in {dtype}: {step}")

        progress("weights")
        spec, tensors = parity.open_network(spec, weights, deploy or None, which=which)
        pixels = parity.with_channels(photo, spec.in_channels)
        stages = parity.compare_stages(spec, tensors, pixels, progress)
        step = parity.compare_training(spec, tensors, parity.training_batch(pixels), progress) if train else []
    report = {"model": spec.name, "deploy": spec.deploy, "size": size, "dtype": dtype}
    if as_json:
        differences = [dataclasses.asdict(row) | {"within": row.within} for row in [*stages, *step]]
        print_json(report | {"differences": differences})
    else:
        _print(report, stages, step)
    exit_status([*stages, *step])


def _print(report: dict[str, Any], stages: list[Any], step: list[Any]) -> None:
    """Tables of the stages and, where one was taken, of the training step."""
    from resnest.jobs.parity import titles

    form = ", deploy form," if report["deploy"] else ""
    size, (first, *others) = report["size"], titles()
    at = f"{form} at {size}x{size} in {report['dtype']}"
    console.print(f"[bold]{report['model']}[/]{at}: {first} against {', '.join(others)}")
    console.print(difference_table(stages))
    if step:
        console.print("\none training step: the loss, and of each part of the network the tensor furthest apart")
        console.print(difference_table(_worst(step)))


def _curves(
    name: str,
    weights: Path | None,
    which: str | None,
    image: Path | None,
    dtype: str,
    size: int,
    output_stride: int | None,
    steps: int,
    plot_path: Path | None,
    as_json: bool,
) -> None:
    from resnest.data.photos import open_photo, sample_photo
    from resnest.jobs import curve, parity
    from resnest.specs.recipe import get_recipe

    spec: Any = get_spec(name)
    spec = spec if output_stride is None else spec.at_stride(output_stride)
    spec.check_size(size, size)
    if plot_path is not None:
        figure(1, 1)  # or what it takes is said before the work
    photo = sample_photo() if image is None else open_photo(image, upright=False)
    recipe = get_recipe(name, size=size)
    with errors.status(f"{spec.name}: weights") as status:
        spec, tensors = parity.open_network(spec, weights, which=which)
        batches = curve.draw_batches(photo, recipe, spec, steps, dtype)
        rates = curve.warmed_up(steps)
        points = curve.compare_curves(spec, tensors, batches, rates, curve.rule(spec), dtype, status.update)
    factors = curve.growth(points)
    first, *_ = parity.titles()
    if plot_path is not None:
        curve.plot(points, f"{spec.name} at {size}x{size} in {dtype}", first, plot_path)
    if as_json:
        report = {"model": spec.name, "size": size, "dtype": dtype, "growth": factors}
        rows = [dataclasses.asdict(point) | {"within": point.within} for point in points]
        print_json(report | {"points": rows})
    else:
        _print_curves(points, f"[bold]{spec.name}[/] at {size}x{size} in {dtype}: {steps} steps of {first}", factors)
    exit_status(points)


def _print_curves(points: list[Any], title: str, factors: dict[str, float]) -> None:
    console.print(f"{title} against {', '.join(factors)}; of the weights, the tensor furthest apart")
    table = make_table("step", "backend", "loss", "loss apart", "weights apart", "bound", "", "tensor")
    for point in points:
        bound = point.weights.bound
        judged = ("", Text()) if bound is None else (f"{bound:.0e}", verdict(point.within))
        apart = f"{point.losses.relative:.1e}", f"{point.weights.relative:.1e}"
        table.add_row(str(point.step), point.backend, f"{point.loss:.6f}", *apart, *judged, point.weights.name)
    console.print(table)
    for backend, factor in factors.items():
        console.print(f"{backend}: the weights' difference grows {factor:.2f}-fold from step to step")


def _worst(rows: list[Any]) -> list[Any]:
    """The row furthest from its bound, of each kind of thing in each part of the network."""
    worst: dict[tuple[str, ...], Any] = {}
    for row in rows:
        kind, _, name = row.name.rpartition(" of ")
        key = row.backend, kind or name.rpartition(".")[2], part_of(name)
        if key not in worst or not row.relative <= worst[key].relative:
            worst[key] = row
    return list(worst.values())
