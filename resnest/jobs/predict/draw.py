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
    a ground of its own, so that both can be read on light and on dark, and a place of its own where there is one.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity={opacity!r} must be between 0 (the photo alone) and 1 (the colours alone)")
    pixels = np.array(photo.convert("RGB"))
    rows = list(zip(found["boxes"].tolist(), found["scores"].tolist(), found["labels"].tolist()))[::-1]
    for mask, (_, _, label) in zip(found.get("masks", [])[::-1], rows):
        _tint(pixels, mask, classes[label].color, opacity)
    canvas = Image.fromarray(pixels)
    draw = ImageDraw.Draw(canvas)
    width = max(min(canvas.size) // 300, 1)
    font = ImageFont.load_default(size=max(min(canvas.size) // 40, 11))
    for box, _, label in rows:
        for color, spread, broad in (("white", 2, 1), ("black", 1, 1), (classes[label].color, 0, 2)):
            _outline(draw, box, color, broad * width, spread * width)
    texts = [f"{classes[label].name} {score:.0%}" for _, score, label in rows]
    spots = _spots(draw, [box for box, _, _ in rows[::-1]], texts[::-1], font)[::-1]
    for spot, text, (_, _, label) in zip(spots, texts, rows):
        _name(draw, spot, text, classes[label].color, font)
    return canvas


def _tint(pixels: np.ndarray, mask: np.ndarray, color: tuple[int, int, int], opacity: float) -> None:
    """Blend a colour over the `pixels` (H, W, 3) where a mask is, twice as much along its border."""
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return
    place = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    pixels, mask = pixels[place], mask[place]
    around = np.pad(mask, 1)
    within = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    for part, share in ((mask & within, opacity), (mask & ~within, min(2 * opacity, 1))):
        pixels[part] = (pixels[part] * (1 - share) + np.array(color) * share).astype(np.uint8)


def _outline(draw: ImageDraw.ImageDraw, box: list[float], color: Any, width: int, spread: int) -> None:
    """A rectangle around a box; its sides at the picture's border lie inside."""
    sides = [min(round(side), size - 1) for side, size in zip(box, draw.im.size * 2)]
    x1, y1, x2, y2 = sides
    draw.rectangle((x1 - spread, y1 - spread, max(x2, x1) + spread, max(y2, y1) + spread), outline=color, width=width)


Spot = tuple[int, int, int, int]
"""Where a name stands: x1, y1, x2, y2 in pixels."""


def _spots(draw: ImageDraw.ImageDraw, boxes: list[list[float]], texts: list[str], font: Any) -> list[Spot]:
    """A place for each name: above its box, or where that is taken or no picture, within, below or some lines off."""
    _, top, _, bottom = (round(side) for side in draw.textbbox((0, 0), "Ay", font=font))
    tall, spots = bottom - top + 4, list[Spot]()
    for box, text in zip(boxes, texts):
        wide = round(font.getlength(text)) + 6
        spots.append(_free(box, (wide, tall), draw.im.size, spots))
    return spots


def _free(box: list[float], name: tuple[int, int], picture: tuple[int, int], taken: list[Spot]) -> Spot:
    """The first place for a name of a box that is in the picture and not `taken`; the first of all where none is."""
    (wide, tall), (width, height) = name, picture
    left, top, right, bottom = map(round, box)
    within = [*range(top, bottom - 2 * tall, tall)]  # of a small box there would be nothing left to see
    near = [line for step in range(3) for line in (bottom + 1 + step * tall, top - tall - step * tall)]
    lines = [line for line in (top - tall, *within[:1], *near, *within) if 0 <= line <= height - tall]
    lines = lines or [max(min(top, height - tall), 0)]
    spots = [
        (x, y, x + wide, y + tall) for y in lines for x in (max(min(x, width - wide), 0) for x in (left, right - wide))
    ]
    return next((spot for spot in spots if not any(_meet(spot, other) for other in taken)), spots[0])


def _meet(one: Spot, other: Spot) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _name(draw: ImageDraw.ImageDraw, spot: Spot, text: str, color: tuple[int, int, int], font: Any) -> None:
    draw.rectangle((*spot[:2], spot[2] - 1, spot[3] - 1), fill=color)
    red, green, blue = ((value / 255) ** 2.2 for value in color)
    bright = 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18  # black on it has more contrast than white
    _, top, _, _ = draw.textbbox((0, 0), "Ay", font=font)
    draw.text((spot[0] + 3, spot[1] + 2 - top), text, fill="black" if bright else "white", font=font)
