"""`resnest verify`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from resnest.backends import registry
from resnest.cli.options import FIRST, device_option, pretrained_option, weight_file, which_option
from resnest.cli.paths import Input, Weights
from resnest.cli.progress import Progress
from resnest.cli.terminal import Command, console, errors, make_table, one_line, print_json
from resnest.cli.values import BATCH, CLASSIFIER, SIDE, THREADS, Word
from resnest.specs import get_spec
from resnest.specs.protocols import PROTOCOLS, preparation


@click.command("verify", cls=Command)
@click.argument("name", type=CLASSIFIER)
@click.option(
    "--data",
    type=Input("data set", folder=True),
    required=True,
    help="A folder with val/, or the class folders, or val.rec.",
)
@click.option("--weights", type=Weights(), help="A weight file; without it published weights.")
@pretrained_option
@which_option
@click.option("--backend", type=Word([*registry.BACKENDS]), help="Where to compute; without it the first backend.")
@click.option("--compare", is_flag=True, help="Compute in every backend, and name the images on which they disagree.")
@click.option("--protocol", type=Word([*PROTOCOLS]), help="Without it the checkpoint's own.")
@click.option("--size", type=SIDE, help="Side of the image in pixels; without it the published one.")
@click.option("--batch", type=BATCH, default=32, show_default=True)
@click.option("--workers", type=THREADS, default=2, show_default=True, help="Threads that read images.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    name: str,
    data: Path,
    weights: Path | None,
    pretrained: str | None,
    which: str | None,
    backend: str | None,
    compare: bool,
    protocol: str | None,
    size: int | None,
    batch: int,
    workers: int,
    device: str,
    as_json: bool,
) -> None:
    """Top-1 and top-5 accuracy of the network NAME on a folder of images, beside the published figure.

    Under torchrun the images are dealt out to its processes.

    Example: resnest verify resnest50 --data imagenet/ --pretrained
    """
    if compare and backend:
        raise ValueError(f"--compare computes in every backend: leave --backend {backend}")
    from resnest.jobs.parity import open_network
    from resnest.jobs.processes import own_device, process, processes
    from resnest.jobs.verify.classification import open_evaluation, verify
    from resnest.weights.published.pretrained import protocol_of, published_as
    from resnest.weights.saved import classes_beside, spec_beside

    first, *_ = registry.BACKENDS
    backends = [*registry.BACKENDS] if compare else [backend or first]
    if size is not None:
        get_spec(name).check_size(size, size)  # before the download
    path = weight_file(name, weights, pretrained if weights else pretrained or FIRST)
    assert path is not None  # one of the two is asked for
    named = get_spec(name)
    spec, arrays = open_network(spec_beside(path, named.name) or named, path, which=which)
    size = size or spec.image_size
    spec.check_size(size, size)
    how = preparation(protocol or protocol_of(path), size, spec.name)
    source = open_evaluation(data, spec.num_classes, classes_beside(path, spec.num_classes))
    predicts = {name: registry.load(name).predictor(spec, arrays, own_device(device)) for name in backends}
    with Progress(console=errors, disable=process() > 0 or not errors.is_terminal) as progress:
        task = progress.add_task(spec.name)

        def show(done: int, accuracies: Mapping[str, Any]) -> None:
            share = len(range(process(), len(source), processes()))
            running = ", ".join(f"{one.top1:.2f}" for one in accuracies.values())
            progress.update(task, completed=done, total=share, description=f"{spec.name} top-1 {running}")

        found = verify(source, predicts, how, batch=batch, threads=workers, progress=show)
    if process() == 0:
        row = published_as(path)
        published = row.top1 if row and row.preparation == how else None
        (_print_json if as_json else _print)(spec, found, published, how)


def _print_json(spec: Any, found: Any, published: float | None, how: Any) -> None:
    accuracy = {}
    for backend, one in found.accuracy.items():
        shares = {"top1": one.top1, "top5": one.top5} if one.images else {"top1": None, "top5": None}
        accuracy[backend] = shares | dataclasses.asdict(one)
    facts = {"name": spec.name, "prepared": str(how), "published_top1": published, "accuracy": accuracy}
    apart = {name: dict(zip(found.accuracy, guesses)) for name, guesses in found.disagreements.items()}
    rest = {"unreadable": dict(found.unreadable), "disagreements": apart}
    print_json(facts | rest)


def _print(spec: Any, found: Any, published: float | None, how: Any) -> None:
    table = make_table("backend", "images", "top-1", "published", "top-5")
    for name, one in found.accuracy.items():
        known = "" if published is None else f"{published:.2f}"
        table.add_row(name, f"{one.images:,}", f"{one.top1:.2f}", known, f"{one.top5:.2f}")
    console.print(table)
    console.print(f"{spec.name}, of each photo {how}", soft_wrap=True)
    for reason in found.unreadable.values():
        click.echo(one_line(f"not counted: {reason}"))
    for name, guesses in found.disagreements.items():
        seen = ", ".join(f"{backend} {guess}" for backend, guess in zip(found.accuracy, guesses))
        click.echo(one_line(f"backends disagree on {name}: {seen}"))
    if found.unreadable:
        console.print(f"images that could not be read and are in no accuracy: {len(found.unreadable)}")
    for backend, one in found.accuracy.items():
        if one.broken:
            console.print(f"images of which {backend} made what is no number, counted as wrong: {one.broken}")
    if len(found.accuracy) > 1:
        console.print(f"images on which backends disagree: {len(found.disagreements)}")
