"""`resnest segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from resnest.cli.options import inference_options, read_inference
from resnest.cli.terminal import Command, console, errors, make_table


@click.command("segment", cls=Command)
@click.argument("photo", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The overlay; without it PHOTO's name with .overlay.png."
)
@click.option("--labels", type=click.Path(path_type=Path), help="The label map; without it OUTPUT's with .labels.png.")
@click.option("--opacity", type=float, default=0.5, show_default=True, help="Of the colours over the photo.")
@inference_options
def command(photo: Path, output: Path | None, labels: Path | None, opacity: float, **options: Any) -> None:
    """Label every pixel of PHOTO: an overlay with a legend, and the raw label map as PNG."""
    from PIL import Image

    from resnest.data.classes import classes_of
    from resnest.data.photos import open_photo
    from resnest.jobs.predict.draw import overlay, shares
    from resnest.jobs.predict.segmentation import open_labeller

    output = output or photo.with_suffix(".overlay.png")
    labels = labels or output.with_suffix(".labels.png")
    image = open_photo(photo)
    with errors.status("weights"):
        labeller = open_labeller(**read_inference(**options))
    with errors.status(f"{labeller.spec.name} on {photo.name}"):
        found = labeller.label(image)
    classes = classes_of(labeller.spec.dataset, labeller.spec.num_classes)
    overlay(image, found, classes, opacity).save(output)
    Image.fromarray(found).save(labels)
    rows = make_table("class", "label", "share")
    for number, share in shares(found):
        rows.add_row(classes[number].name, str(number), f"{share:.1%}")
    console.print(rows)
    click.echo(f"{output}: overlay; {labels}: label map")
