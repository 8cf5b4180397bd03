"""Label maps drawn: over their photo, with a legend."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from resnest.data.classes import IGNORED, SegmentationClass

LINE = 18
"""Pixels from one line of the legend to the next."""


def overlay(photo: Image.Image, labels: np.ndarray, classes: list[SegmentationClass], opacity: float) -> Image.Image:
    """The photo under its labels' colours, and below it a legend of the classes in it, largest first."""
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity={opacity!r} must be between 0 (the photo alone) and 1 (the colours alone)")
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(classes)] = [color for _, color in classes]
    blended = Image.blend(photo.convert("RGB"), Image.fromarray(colors[labels]), opacity)
    return _with_legend(blended, [(classes[number], share) for number, share in shares(labels)])


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
