"""`resnest verify-detection`."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Any

import click

from resnest.cli.options import detection_options
from resnest.cli.paths import Input, Output
from resnest.cli.progress import Progress
from resnest.cli.terminal import Command, console, errors, make_table, write_json


@click.command("verify-detection", cls=Command)
@click.argument("images", type=Input("folder of photos", file=False, folder=True))
@click.argument("annotations", type=Input("file of annotations"))
@click.option("--json", "results", type=Output("JSON file"), help="A file for all objects in COCO's result format.")
@detection_options
def command(images: Path, annotations: Path, results: Path | None, **network: Any) -> None:
    """Average precision on the photos in IMAGES that the file ANNOTATIONS, of COCO's form, is of.

    Under torchrun the photos are dealt out to its processes.

    Example: resnest verify-detection val2017/ instances_val2017.json --weights mask_rcnn.pth
    """
    from resnest.data.annotations import read_annotations
    from resnest.jobs.predict.detection import open_finder
    from resnest.jobs.processes import own_device, process
    from resnest.jobs.verify.detection import verify

    network["device"] = own_device(network["device"])
    with errors.status("weights"):
        finder = open_finder(**network)
    truth = read_annotations(annotations, finder.spec.num_classes)
    with Progress(console=errors, disable=process() > 0 or not errors.is_terminal) as progress:

        def track(share: list[Any]) -> Any:
            return progress.track(share, description=finder.spec.name)

        scores, rows = verify(finder, truth, images, track=track)
    if process() == 0:
        if results is not None:
            write_json(rows, results)
        _report(finder.spec, scores, len(truth.content["images"]))


def _report(spec: Any, scores: dict[str, Any], photos: int) -> None:
    from resnest.jobs.verify.detection import KINDS
    from resnest.specs.detection.published import PUBLISHED_AP

    table = make_table("", "AP", "published", "AP50", "AP75", "small", "medium", "large")
    published = PUBLISHED_AP.get(spec.name, ()) if spec.dataset == "coco" else ()
    for number, (kind, precision) in enumerate(scores.items()):
        known = f"{published[number]:.1f}" if number < len(published) else ""
        first, *others = (_percent(figure) for figure in precision)
        table.add_row(KINDS[kind], first, known, *others)
    console.print(table)
    console.print(f"{spec.name} on {photos} photos; published is on COCO's val2017")


def _percent(share: float) -> str:
    return "" if isnan(share) else f"{100 * share:.1f}"
