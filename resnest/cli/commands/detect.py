"""`resnest detect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from resnest.cli.options import detection_options
from resnest.cli.paths import Input, Output
from resnest.cli.photos import check_places, end_with, output_option, places, said_of, with_each
from resnest.cli.terminal import Command, console, errors, make_table, write_json
from resnest.cli.values import Number
from resnest.jobs.predict.photos import DETECTIONS


@click.command("detect", cls=Command)
@click.argument("photos", nargs=-1, required=True, type=Input("photo", folder=True), metavar="PHOTO|FOLDER...")
@output_option("The drawn photo", DETECTIONS)
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
    """Find the objects in photos: boxes, names and masks drawn over each, and all of them as JSON.

    Example: resnest detect street.jpg --weights mask_rcnn.pth -o found.png
    """
    from resnest.data.classes import classes_of
    from resnest.data.coco import category_ids, image_id, result_rows
    from resnest.data.photos import open_photo
    from resnest.jobs.predict.detection import above, open_finder
    from resnest.jobs.predict.draw import draw_objects, save_picture
    from resnest.jobs.predict.photos import photos_in
    from resnest.weights.saved import classes_beside

    paths = photos_in(photos)
    targets = places(paths, output, DETECTIONS, several=len(photos) > 1 or photos[0].is_dir())
    check_places({"picture": targets}, {"the weights": network["weights"]}, json=results)
    with errors.status("weights"):
        finder = open_finder(**network)
    spec = finder.spec
    classes, ids = classes_of(spec.dataset, spec.num_classes), category_ids(spec.dataset, spec.num_classes)
    names = classes_beside(network["weights"], spec.num_classes) or [row.name for row in classes]
    classes = [row._replace(name=name) for row, name in zip(classes, names)]
    rows: list[dict[str, Any]] = []
    table = make_table("photo", "object", "score", "box")

    def find(path: Path) -> None:
        photo = open_photo(path)
        found = finder.find(photo)
        if results is not None:
            rows.extend(result_rows(image_id(path.name), found, ids))
        shown = above(found, threshold)
        targets[path].parent.mkdir(parents=True, exist_ok=True)
        save_picture(draw_objects(photo, shown, classes, opacity), targets[path])
        for label, score, box in zip(shown["labels"], shown["scores"], shown["boxes"]):
            table.add_row(path.name, classes[label].name, f"{score:.1%}", " ".join(f"{side:.0f}" for side in box))
        if not len(shown["scores"]):
            table.add_row(path.name, f"nothing from {threshold:.0%} on", "", "")

    left_out = with_each(paths, spec.name, find)
    if results is not None:
        write_json(rows, results)
    console.print(table)
    made = said_of(targets, left_out)
    click.echo(made if results is None else f"{made}; {results}: {len(rows)} objects")
    end_with(left_out)
