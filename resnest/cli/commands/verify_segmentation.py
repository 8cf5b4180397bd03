"""`resnest verify-segmentation`."""

from __future__ import annotations

from math import isnan
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from resnest.cli.options import inference_options, read_inference
from resnest.cli.paths import Input
from resnest.cli.terminal import Command, console, errors, make_table


@click.command("verify-segmentation", cls=Command)
@click.argument("images", type=Input("folder of photos", file=False, folder=True))
@click.argument("labels", type=Input("folder of label maps", file=False, folder=True))
@click.option(
    "--zero-is-ignored/--zero-is-a-class",
    default=None,
    help="Whether label maps count classes from 1; without it they do for ADE20K, as published, and no other.",
)
@inference_options
def command(images: Path, labels: Path, zero_is_ignored: bool | None, **options: Any) -> None:
    """Mean intersection over union on the photos in IMAGES, against the label maps in LABELS.

    A label map is a PNG or TIFF with its photo's name (Cityscapes' own names work), as large as the
    photo is upright. It has 255 where nothing is to be counted, or 65535 in 16 bits. Under torchrun the
    photos are dealt out to its processes.

    Example: resnest verify-segmentation images/ labels/ --weights fcn.pth
    """
    from resnest.data import label_maps
    from resnest.jobs.predict.segmentation import open_labeller
    from resnest.jobs.processes import own_device, process
    from resnest.jobs.verify.segmentation import verify

    pairs = label_maps.pairs(images, labels)
    options["device"] = own_device(options["device"])
    with errors.status("weights"):
        labeller = open_labeller(**read_inference(**options))
    with Progress(console=errors, disable=process() > 0 or not errors.is_terminal) as progress:

        def track(share: list[Any]) -> Any:
            return progress.track(share, description=labeller.spec.name)

        scores = verify(labeller, pairs, zero_is_ignored=zero_is_ignored, track=track)
    if process() == 0:
        _report(labeller.spec, scores, len(pairs))


def _report(spec: Any, scores: Any, photos: int) -> None:
    from resnest.data.classes import classes_of

    rows = make_table("class", "IoU", "accuracy")
    for known, iou, accuracy in zip(
        classes_of(spec.dataset, spec.num_classes), scores.iou, scores.accuracy, strict=True
    ):
        rows.add_row(known.name, _percent(iou), _percent(accuracy))
    console.print(rows)
    console.print(
        f"{spec.name} on {photos} photos: mean IoU {_percent(scores.mean_iou)},"
        f" pixel accuracy {_percent(scores.pixel_accuracy)}"
    )


def _percent(share: float) -> str:
    return "" if isnan(share) else f"{100 * share:.2f}"
