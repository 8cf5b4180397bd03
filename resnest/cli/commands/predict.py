"""`resnest predict`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import click

from resnest.cli.options import classifier_file, classifier_options, device_option
from resnest.cli.paths import Input
from resnest.cli.photos import end_with, with_each
from resnest.cli.terminal import Command, console, errors, make_table, print_json


@click.command("predict", cls=Command)
@click.argument("photos", nargs=-1, required=True, type=Input("photo", folder=True), metavar="PHOTO|FOLDER...")
@classifier_options("A classifier's weights; without them published ones.")
@device_option
@click.option("--top", type=click.IntRange(1, 1000), default=5, show_default=True, help="Classes to tell of a photo.")
@click.option("--classes", type=Input("file of names"), help="The classes' names, one a line, for classes of your own.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of a table.")
def command(
    photos: tuple[Path, ...],
    model: str | None,
    weights: Path | None,
    pretrained: str | None,
    classes: Path | None,
    top: int,
    as_json: bool,
    as_csv: bool,
    **network: Any,
) -> None:
    """Say what is in photos: the most probable classes of each, with their names.

    Example: resnest predict cat.jpg --pretrained
    """
    if as_json and as_csv:
        raise ValueError("--json and --csv are two ways to print one thing: give one")
    from resnest.jobs.predict.classification import open_classifier
    from resnest.jobs.predict.photos import photos_in
    from resnest.weights.saved import read_classes

    paths = photos_in(photos)
    names = read_classes(classes) if classes else None
    model, path = classifier_file(model, weights, pretrained)
    with errors.status("weights"):
        classifier = open_classifier(path, model=model, classes=names, **network)
    found: dict[Path, list[Any]] = {}

    def guess(photo: Path) -> None:
        found[photo] = classifier.guess(photo, top)

    left_out = with_each(paths, classifier.spec.name, guess)
    (_print_json if as_json else _print_csv if as_csv else _print)(found)
    end_with(left_out)


def _print_json(found: dict[Path, list[Any]]) -> None:
    print_json([{"photo": str(photo), "classes": [guess._asdict() for guess in row]} for photo, row in found.items()])


def _print_csv(found: dict[Path, list[Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["photo", "rank", "number", "name", "probability"])
    for photo, row in found.items():
        writer.writerows([photo, rank, *guess] for rank, guess in enumerate(row, 1))


def _print(found: dict[Path, list[Any]]) -> None:
    table = make_table("photo", "probability", "class", "number")
    for photo, row in found.items():
        for rank, (number, name, probability) in enumerate(row):
            last = rank + 1 == len(row)
            table.add_row("" if rank else photo.name, f"{probability:.1%}", name, str(number), end_section=last)
    console.print(table)
