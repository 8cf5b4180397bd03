"""`resnest segment`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from resnest.cli.options import inference_options, read_inference
from resnest.cli.paths import Input, Output
from resnest.cli.photos import check_places, end_with, output_option, places, said_of, with_each
from resnest.cli.terminal import Command, console, errors, make_table
from resnest.cli.values import Number
from resnest.data.label_maps import LABEL_MAPS
from resnest.jobs.predict.photos import LABELS, OVERLAY


@click.command("segment", cls=Command)
@click.argument("photos", nargs=-1, required=True, type=Input("photo", folder=True), metavar="PHOTO|FOLDER...")
@output_option("The overlay", OVERLAY)
@click.option(
    "--labels",
    type=Output("label map", suffixes=LABEL_MAPS, folder=True),
    help=f"The label map, of several photos a folder; without it the overlay's name with {LABELS}.",
)
@click.option("--opacity", type=Number(0, 1), default=0.5, show_default=True, help="Of the colours over the photo.")
@inference_options
def command(photos: tuple[Path, ...], output: Path | None, labels: Path | None, opacity: float, **options: Any) -> None:
    """Label every pixel of photos: of each an overlay with a legend, and the raw label map.

    Both show the photo upright, as its EXIF orientation says. A label map in a folder given by --labels has its photo's
    name, as verify-segmentation finds it. A label map is a grey PNG or TIFF of 8 bits, or of 16
    where a network tells 256 classes or more apart.

    Example: resnest segment street.jpg --weights fcn.pth -o overlay.png
    """
    from resnest.data.classes import classes_of
    from resnest.data.label_maps import label_image
    from resnest.data.photos import open_photo
    from resnest.jobs.predict.draw import overlay, save_picture, shares
    from resnest.jobs.predict.photos import photos_in
    from resnest.jobs.predict.segmentation import open_labeller

    paths = photos_in(photos)
    several = len(photos) > 1 or photos[0].is_dir()
    overlays = places(paths, output, OVERLAY, several=several)
    if labels is None:
        maps = {photo: overlay.with_suffix(LABELS) for photo, overlay in overlays.items()}
    else:
        maps = places(paths, labels, ".png", several=several)
    check_places({"overlay": overlays, "label map": maps}, {"the weights": options["weights"]})
    with errors.status("weights"):
        labeller = open_labeller(**read_inference(**options))
    classes = classes_of(labeller.spec.dataset, labeller.spec.num_classes)
    table = make_table("photo", "class", "label", "share")

    def label(photo: Path) -> None:
        image = open_photo(photo)
        try:
            found = labeller.label(image)
        except ValueError as error:
            raise ValueError(f"{photo}: {error}") from None
        for place, picture in (
            (overlays[photo], overlay(image, found, classes, opacity)),
            (maps[photo], label_image(found, len(classes))),
        ):
            place.parent.mkdir(parents=True, exist_ok=True)
            save_picture(picture, place)
        for number, share in shares(found, len(classes)):
            table.add_row(photo.name, classes[number].name, str(number), f"{share:.1%}")

    left_out = with_each(paths, labeller.spec.name, label)
    console.print(table)
    click.echo(f"{said_of(overlays, left_out)}: overlay; {said_of(maps, left_out)}: label map")
    end_with(left_out)
