"""What networks see, drawn over the photo: label maps with a legend, objects with their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from resnest.data.classes import SegmentationClass, ignored
from resnest.jobs.predict.attention import Look
from resnest.weights.formats.atomic import replacing

PICTURES = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
}  # fmt: skip
"""Suffix -> Pillow's format, of pictures that can be written."""

LINE = 18
"""Pixels from one line of the legend to the next."""


def check_picture(path: Path) -> None:
    """ValueError where no picture can be written under this name."""
    if path.suffix.lower() not in PICTURES:
        raise ValueError(f"{path} has no suffix of a picture that can be written; known are {', '.join(PICTURES)}")


def save_picture(image: Image.Image, path: Path) -> None:
    """Write an image in the format that its suffix says, whole or not at all; the same errors as `replacing`."""
    check_picture(path)
    with replacing(path) as file:
        image.save(file, PICTURES[path.suffix.lower()])


def overlay(photo: Image.Image, labels: np.ndarray, classes: list[SegmentationClass], opacity: float) -> Image.Image:
    """The photo under its labels' colours, and below it a legend of the classes in it, largest first."""
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity={opacity!r} must be between 0 (the photo alone) and 1 (the colours alone)")
    colors = np.zeros((ignored(len(classes)) + 1, 3), np.uint8)
    colors[: len(classes)] = [color for _, color in classes]
    blended = Image.blend(photo.convert("RGB"), Image.fromarray(colors[labels]), opacity)
    return _with_legend(blended, [(classes[number], share) for number, share in shares(labels, len(classes))])


def shares(labels: np.ndarray, num_classes: int) -> list[tuple[int, float]]:
    """Which classes there are and the share of the pixels that each has, largest first."""
    counts = np.bincount(labels.ravel(), minlength=1)
    known = np.flatnonzero(counts)
    found = [(int(number), counts[number] / labels.size) for number in known if number != ignored(num_classes)]
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


HEAT = ((12, 7, 35), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
"""From nothing to the most: dark to bright, so that it can be read without colours too."""

TILE = 224
"""Pixels of a side of each picture of a split."""


def draw_looks(photo: Image.Image, looks: Sequence[Look]) -> Image.Image:
    """A row for each of the `looks`: the photo that the network saw, and over it what each split adds.

    The brightest colour is the most that any split of the row adds anywhere.
    """
    photo = photo.convert("RGB").resize((TILE, TILE), Image.Resampling.BICUBIC)
    grey = photo.convert("L").convert("RGB")
    most = max((len(look.maps) for look in looks), default=0)
    canvas = Image.new("RGB", ((most + 1) * TILE, len(looks) * (TILE + LINE)), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=12)
    for row, look in enumerate(looks):
        top = row * (TILE + LINE)
        canvas.paste(photo, (0, top + LINE))
        draw.text((4, top + 2), look.block, fill="black", font=font)
        peak = float(np.abs(look.maps).max()) or 1.0
        for column, (heat, share) in enumerate(zip(look.maps, look.shares), 1):
            canvas.paste(Image.blend(grey, _heat(heat / peak), 0.7), (column * TILE, top + LINE))
            draw.text((column * TILE + 4, top + 2), f"split {column}: {share:.1%}", fill="black", font=font)
    return canvas


def _heat(values: np.ndarray) -> Image.Image:
    """Numbers (H, W) from 0 to 1 in colours, as large as a tile."""
    enlarged = Image.fromarray(values.astype(np.float32)).resize((TILE, TILE), Image.Resampling.BILINEAR)
    place = np.asarray(enlarged).clip(0, 1) * (len(HEAT) - 1)
    colors = [np.interp(place, range(len(HEAT)), channel) for channel in zip(*HEAT)]
    return Image.fromarray(np.stack(colors, axis=-1).astype(np.uint8))


def draw_objects(
    photo: Image.Image, found: Mapping[str, np.ndarray], classes: list[SegmentationClass], opacity: float
) -> Image.Image:
    """The photo with what was `found` in it: masks in their class's colour, boxes, names and scores.

    Best scores are drawn last, so that they stand on top. Every line has a white and a black side and every name
    a ground of its own, so that both can be read on light and on dark.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity={opacity!r} must be between 0 (the photo alone) and 1 (the colours alone)")
    pixels = np.array(photo.convert("RGB"))
    rows = list(zip(found["boxes"].tolist(), found["scores"].tolist(), found["labels"].tolist()))[::-1]
    for mask, (_, _, label) in zip(found.get("masks", [])[::-1], rows):
        tint = np.array(classes[label].color) * opacity
        pixels[mask] = (pixels[mask] * (1 - opacity) + tint).astype(np.uint8)
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    width = max(min(canvas.size) // 300, 1)
    font = ImageFont.load_default(size=max(min(canvas.size) // 40, 11))
    for box, _, label in rows:
        for color, spread in (("white", 2 * width), ("black", width), (classes[label].color, 0)):
            _outline(draw, box, color, width, spread)
    for box, score, label in rows:
        _name(draw, box, f"{classes[label].name} {score:.0%}", classes[label].color, font, canvas.size)
    return canvas


def _outline(draw: ImageDraw.ImageDraw, box: list[float], color: Any, width: int, spread: int) -> None:
    x1, y1, x2, y2 = (round(side) for side in box)
    draw.rectangle((x1 - spread, y1 - spread, max(x2, x1) + spread, max(y2, y1) + spread), outline=color, width=width)


def _name(draw: ImageDraw.ImageDraw, box: list[float], text: str, color: Any, font: Any, size: tuple[int, int]) -> None:
    """`text` above the box, or inside where there is no room; always inside the image as far as it fits."""
    left, top, right, bottom = (round(side) for side in draw.textbbox((0, 0), text, font=font))
    wide, tall = right - left + 6, bottom - top + 4
    x = max(min(round(box[0]), size[0] - wide), 0)
    y = round(box[1]) - tall
    y = y if y >= 0 else max(min(round(box[1]), size[1] - tall), 0)
    draw.rectangle((x, y, x + wide, y + tall), fill=color)
    red, green, blue = color
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    draw.text((x + 3 - left, y + 2 - top), text, fill="black" if bright else "white", font=font)
