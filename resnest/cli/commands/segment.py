"""`resnest segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from resnest.cli.options import inference_options, read_inference
from resnest.cli.paths import Input, Output, check_outputs
from resnest.cli.terminal import Command, console, errors, make_table
from resnest.cli.values import Number
from resnest.data.label_maps import LABEL_MAPS
from resnest.jobs.predict.draw import PICTURES


@click.command("segment", cls=Command)
@click.argument("photo", type=Input("photo"))
@click.option(
    "-o",
    "--output",
    type=Output("picture", suffixes=[*PICTURES]),
    help="The overlay; without it PHOTO's name with .overlay.png.",
)
@click.option(
    "--labels",
    type=Output("label map", suffixes=LABEL_MAPS),
    help="The label map; without it OUTPUT's with .labels.png.",
)
@click.option("--opacity", type=Number(0, 1), default=0.5, show_default=True, help="Of the colours over the photo.")
@inference_options
def command(photo: Path, output: Path | None, labels: Path | None, opacity: float, **options: Any) -> None:
    """Label every pixel of PHOTO: an overlay with a legend, and the raw label map.

    Both show the photo upright, as its EXIF orientation says. A label map is a grey PNG or TIFF of 8 bits, or of 16
    where a network tells 256 classes or more apart.
    """
    from resnest.data.classes import classes_of
    from resnest.data.label_maps import label_image
    from resnest.data.photos import open_photo
    from resnest.jobs.predict.draw import overlay, save_picture, shares
    from resnest.jobs.predict.segmentation import open_labeller

    output = output or photo.with_suffix(".overlay.png")
    labels = labels or output.with_suffix(".labels.png")
    inputs = {"the photo": photo, "the weights": options["weights"]}
    check_outputs({"the overlay": output, "the label map": labels}, inputs)
    image = open_photo(photo)
    with errors.status("weights"):
        labeller = open_labeller(**read_inference(**options))
    with errors.status(f"{labeller.spec.name} on {photo.name}"):
        try:
            found = labeller.label(image)
        except ValueError as error:
            raise ValueError(f"{photo}: {error}") from None
    classes = classes_of(labeller.spec.dataset, labeller.spec.num_classes)
    save_picture(overlay(image, found, classes, opacity), output)
    save_picture(label_image(found, len(classes)), labels)
    rows = make_table("class", "label", "share")
    for number, share in shares(found, len(classes)):
        rows.add_row(classes[number].name, str(number), f"{share:.1%}")
    console.print(rows)
    click.echo(f"{output}: overlay; {labels}: label map")
