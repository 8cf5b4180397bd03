"""What data sets call their classes, and in which colours they draw them."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np

Color = tuple[int, int, int]

IGNORED = 255
"""The label of pixels that no class is known of, among up to 255 classes."""


def ignored(num_classes: int) -> int:
    """The label of pixels that no class is known of: 255, or 65535 where 255 is a class."""
    return int(np.iinfo(label_dtype(num_classes)).max)


def label_dtype(num_classes: int) -> type[np.unsignedinteger[Any]]:
    """What labels are kept in: uint8, or uint16 for 256 classes and more; ValueError where that does not hold them."""
    if num_classes > 65535:
        raise ValueError(f"{num_classes} classes are more than the 65535 that a label map of 16 bits tells apart")
    return np.uint8 if num_classes <= IGNORED else np.uint16


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
