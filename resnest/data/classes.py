"""Label maps and what they look like: the data sets' class names and colours, overlay and legend."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from resnest.data.resize import resize

Color = tuple[int, int, int]

IGNORED = 255
"""The label of pixels that no class is known of."""

LINE = 18
"""Pixels from one line of the legend to the next."""


class SegmentationClass(NamedTuple):
    """A class's name and its colour, RGB of 0 to 255."""

    name: str
    color: Color


@cache
def _published() -> dict[str, list[SegmentationClass]]:
    rows = json.loads((files("resnest") / "data" / "assets" / "classes.json").read_text())
    return {
        dataset: [SegmentationClass(name, (red, green, blue)) for name, red, green, blue in classes]
        for dataset, classes in rows.items()
    }


def classes_of(dataset: str, num_classes: int) -> list[SegmentationClass]:
    """The data set's classes; for another data set or number of classes numbered ones in PASCAL VOC's colours."""
    classes = _published().get(dataset, [])
    if len(classes) == num_classes:
        return classes
    return [SegmentationClass(f"class {number}", _voc_color(number)) for number in range(num_classes)]


def _voc_color(number: int) -> Color:
    """PASCAL VOC's colour of a label: its bits dealt out to red, green and blue, the last ones first."""
    red, green, blue = (
        sum((number >> (3 * place + channel) & 1) << (7 - place) for place in range(8)) for channel in range(3)
    )
    return red, green, blue


def overlay(photo: Image.Image, labels: np.ndarray, classes: list[SegmentationClass], opacity: float) -> Image.Image:
    """The photo under its labels' colours, and below it a legend of the classes in it, largest first."""
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity={opacity!r} must be between 0 (the photo alone) and 1 (the colours alone)")
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(classes)] = [color for _, color in classes]
    blended = Image.blend(photo.convert("RGB"), Image.fromarray(colors[labels]), opacity)
    return _with_legend(blended, [(classes[number], share) for number, share in shares(labels)])


def enlarge(probabilities: np.ndarray, height: int, width: int) -> np.ndarray:
    """The label map (height, width) of class probabilities (1, classes, h, w) of another size."""
    return resize(probabilities, height, width)[0].argmax(0).astype(np.uint8)


def shares(labels: np.ndarray) -> list[tuple[int, float]]:
    """Which classes there are and the share of the pixels that each has, largest first."""
    counts = np.bincount(labels.ravel(), minlength=1)
    found = [(int(number), counts[number] / labels.size) for number in np.flatnonzero(counts) if number != IGNORED]
    return sorted(found, key=lambda row: -row[1])


def _with_legend(image: Image.Image, rows: list[tuple[SegmentationClass, float]]) -> Image.Image:
    font = ImageFont.load_default(size=12)
    texts = [f"{name} {share:.1%}" for (name, _), share in rows]
    column = max((int(font.getlength(text)) for text in texts), default=0) + 2 * LINE
    columns = max(image.width // column, 1)
    lines = -(-len(rows) // columns)
    canvas = Image.new("RGB", (max(image.width, column), image.height + lines * LINE), "white")
    canvas.paste(image)
    draw = ImageDraw.Draw(canvas)
    for number, ((_, color), text) in enumerate(zip([row[0] for row in rows], texts)):
        left, top = number % columns * column, image.height + number // columns * LINE
        draw.rectangle((left + 4, top + 3, left + 16, top + 15), fill=color)
        draw.text((left + 22, top + 2), text, fill="black", font=font)
    return canvas
