"""COCO's forms: which number each class has there, masks, and rows of results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resnest.data.boxes import with_sides

_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}

CATEGORY_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED)
"""COCO's number of each of its 80 classes, in the order in which networks count them from 0; ten numbers are unused."""


def category_ids(dataset: str, num_classes: int) -> tuple[int, ...]:
    """The number that each label of a network gets in a results file: COCO's, or of other classes 1, 2, ..."""
    return CATEGORY_IDS if (dataset, num_classes) == ("coco", len(CATEGORY_IDS)) else tuple(range(1, num_classes + 1))


def image_id(name: str) -> int | str:
    """The number of an image called like COCO's (`000000000139.jpg`); the name without its suffix for any other."""
    stem = Path(name).stem
    return int(stem) if stem.isdecimal() else stem


def result_rows(image: int | str, found: Mapping[str, np.ndarray], ids: Sequence[int]) -> list[dict[str, Any]]:
    """What was `found` in an image as rows of COCO's result format; `ids` are the numbers of the labels.

    Masks are run-length encoded by pycocotools: ImportError, saying what to install, without it.
    """
    rows: list[dict[str, Any]] = [
        {"image_id": image, "category_id": int(ids[label]), "bbox": box, "score": score}
        for label, box, score in zip(
            found["labels"].tolist(), with_sides(found["boxes"]).tolist(), found["scores"].tolist()
        )
    ]
    for row, mask in zip(rows, found.get("masks", ())):
        row["segmentation"] = run_lengths(mask)
    return rows


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """A mask (H, W) as COCO's compressed run lengths, its text readable by JSON."""
    encoded = import_pycocotools().encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode()}


def decompressed(text: str) -> list[int]:
    """The run lengths in COCO's compressed `text`, or none where it is broken, with which pycocotools crashes.

    A number is its lowest five bits first, in characters from "0" on; 32 says that there is more of it and the 16 of
    its last five bits that it is negative. From the fourth on they are differences to the last but one.
    """
    codes = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        return []
    lasts = np.flatnonzero(~codes & 32)
    firsts = np.concatenate([[0], lasts[:-1] + 1])
    shifts = 5 * (np.arange(len(codes)) - np.repeat(firsts, lasts - firsts + 1))
    if shifts.max() > 30:
        return []
    numbers = np.add.reduceat((codes & 31) << shifts, firsts)
    numbers -= np.where(codes[lasts] & 16, 32 << shifts[lasts], 0)
    for start in (1, 2):
        numbers[start::2] = numbers[start::2].cumsum()
    return numbers.tolist()


def crop_polygons(polygons: Sequence[Sequence[float]], box: Sequence[float], size: int) -> np.ndarray:
    """An object's polygons (x y x y ...), cut out by a box and stretched: (size, size), true in one of them.

    As mmdetection makes the targets of masks: drawn after they were stretched, by pycocotools.
    """
    x1, y1, x2, y2 = box
    origin = np.array([x1, y1])
    factor = size / np.array([max(x2 - x1, 1), max(y2 - y1, 1)])
    stretched = [((np.reshape(points, (-1, 2)) - origin) * factor).ravel().tolist() for points in polygons]
    tool = import_pycocotools()
    return tool.decode(tool.merge(tool.frPyObjects(stretched, size, size))).astype(bool)


def import_pycocotools() -> Any:
    """`pycocotools.mask`; ImportError, saying what to install, without it."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError(
            f"COCO's masks and scores need pycocotools ({error}): pip install 'resnest[detection]'"
        ) from None
    return mask
