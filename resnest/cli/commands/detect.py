"""`resnest detect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.progress import track

from resnest.cli.options import detection_options
from resnest.cli.paths import Input, Output, check_distinct, check_folder
from resnest.cli.terminal import Command, console, errors, make_table, write_json
from resnest.cli.values import Number
from resnest.jobs.predict.detection import DRAWN


@click.command("detect", cls=Command)
@click.argument("photos", nargs=-1, required=True, type=Input("photo", folder=True), metavar="PHOTO|FOLDER...")
@click.option(
    "-o",
    "--output",
    type=Output("picture", folder=True),
    help="The drawn photo, of several photos a folder; without it each PHOTO's name with .detections.png.",
)
@click.option("--json", "results", type=Output("JSON file"), help="A file for all objects in COCO's result format.")
@click.option("--threshold", type=Number(0, 1), default=0.3, show_default=True, help="Lowest score to draw.")
@click.option("--opacity", type=Number(0, 1), default=0.5, show_default=True, help="Of the masks over the photo.")
@detection_options
def command(
    photos: tuple[Path, ...],
    output: Path | None,
    results: Path | None,
    threshold: float,
    opacity: float,
    **network: Any,
) -> None:
    """Find the objects in photos: boxes, names and masks drawn over each, and all of them as JSON."""
    from resnest.data.classes import classes_of
    from resnest.data.coco import category_ids, image_id, result_rows
    from resnest.data.photos import open_photo, upright_size
    from resnest.jobs.predict.detection import above, open_finder, photos_in
    from resnest.jobs.predict.draw import draw_objects, save_picture

    paths = photos_in(list(photos))
    targets = _targets(paths, output, several=len(photos) > 1 or photos[0].is_dir())
    _check(paths, targets, network["weights"], results)
    for path in paths:
        upright_size(path)  # or which is no photo is said before the work
    with errors.status("weights"):
        finder = open_finder(**network)
    spec = finder.spec
    classes, ids = classes_of(spec.dataset, spec.num_classes), category_ids(spec.dataset, spec.num_classes)
    rows: list[dict[str, Any]] = []
    table = make_table("photo", "object", "score", "box")
    for path, target in track(
        list(zip(paths, targets)), spec.name, console=errors, transient=True, disable=not errors.is_terminal
    ):
        photo = open_photo(path)
        found = finder.find(photo)
        if results is not None:
            rows += result_rows(image_id(path.name), found, ids)
        shown = above(found, threshold)
        target.parent.mkdir(parents=True, exist_ok=True)
        save_picture(draw_objects(photo, shown, classes, opacity), target)
        for label, score, box in zip(shown["labels"], shown["scores"], shown["boxes"]):
            table.add_row(path.name, classes[label].name, f"{score:.1%}", " ".join(f"{side:.0f}" for side in box))
        if not len(shown["scores"]):
            table.add_row(path.name, f"nothing from {threshold:.0%} on", "", "")
    if results is not None:
        write_json(rows, results)
    console.print(table)
    made = str(targets[0]) if len(targets) == 1 else f"{len(targets)} photos in {targets[0].parent}"
    click.echo(made if results is None else f"{made}; {results}: {len(rows)} objects")


def _check(paths: list[Path], targets: list[Path], weights: Path, results: Path | None) -> None:
    """ValueError, or an OSError, where what is drawn could not be written, or would take the place of something."""
    from resnest.jobs.predict.draw import check_picture

    for target in targets:
        check_picture(target)
    for folder in {target.parent for target in targets}:
        check_folder(folder)
    outputs = [(f"the picture of {path.name}", target) for path, target in zip(paths, targets)]
    inputs = [*(("the photo", path) for path in paths), ("the weights", weights)]
    check_distinct([*outputs, *([] if results is None else [("--json", results)])], inputs)


def _targets(paths: list[Path], output: Path | None, *, several: bool) -> list[Path]:
    """Where each photo's picture goes; ValueError where two would go to one place."""
    if output is None:
        return [path.with_suffix(DRAWN) for path in paths]
    if not several and not output.is_dir():
        return [output]
    if output.suffix and not output.is_dir():
        raise ValueError(f"{output} is no folder, and there are {len(paths)} photos: give -o a folder")
    targets = [output / f"{path.stem}{DRAWN}" for path in paths]
    twice = next((target for target in targets if targets.count(target) > 1), None)
    if twice is not None:
        raise ValueError(f"two photos would be drawn to {twice}: give photos of different names")
    return targets
