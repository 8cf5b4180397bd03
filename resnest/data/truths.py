"""What is truly in photos, as a detector learns from it: boxes, labels and masks, out of COCO's annotations.

What is left out, and what happens to the rest when a photo is resized and mirrored, is as in mmdetection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from resnest.data.boxes import with_corners
from resnest.data.coco import import_pycocotools

Truth = dict[str, Any]
"""Of an image `boxes` float32 (g, 4), x1 y1 x2 y2, `labels` int64 (g,) from 0, and where they were asked for `masks`:
each object's polygons (x y x y ...), or where one of them is in run lengths uint8 (g, H, W)."""


def is_learnt(row: Mapping[str, Any], frame: tuple[int, int], labels: Mapping[int, int]) -> bool:
    """Whether a detector learns from this row of an annotation file, an object in a photo of `frame` (h, w).

    It does not from crowds, from objects that are to be ignored or whose class has none of the `labels`, and from
    boxes under a pixel wide or high, without area, or outside of the photo.
    """
    x, y, width, height = row["bbox"]
    inside = min(x + width, frame[1]) > max(x, 0) and min(y + height, frame[0]) > max(y, 0)
    whole = width >= 1 and height >= 1 and row["area"] > 0
    return bool(
        inside and whole and row["category_id"] in labels and not row["iscrowd"] and not row.get("ignore", False)
    )


def truth_of(
    rows: Sequence[Mapping[str, Any]], frame: tuple[int, int], labels: Mapping[int, int], masks: bool
) -> Truth:
    """What is in a photo of `frame` (h, w), out of its rows in an annotation file; `labels` are the classes'."""
    rows = [row for row in rows if is_learnt(row, frame, labels)]
    boxes = with_corners(np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4))
    truth: Truth = {
        "boxes": boxes.astype(np.float32),
        "labels": np.array([labels[row["category_id"]] for row in rows], np.int64),
    }
    if masks:
        drawn = [row["segmentation"] for row in rows]
        bitmaps = any(isinstance(mask, Mapping) for mask in drawn)
        truth["masks"] = np.stack([bitmap(mask, frame) for mask in drawn]) if bitmaps else drawn
    return truth


def bitmap(mask: Any, frame: tuple[int, int]) -> np.ndarray:
    """An object's polygons or run lengths as uint8 (h, w) of 0 and 1."""
    tool = import_pycocotools()
    if isinstance(mask, Mapping) and not isinstance(mask["counts"], list):
        return tool.decode(mask)
    encoded = tool.frPyObjects(mask, *frame)
    return tool.decode(encoded if isinstance(mask, Mapping) else tool.merge(encoded))


def moved(truth: Truth, frame: tuple[int, int], size: tuple[int, int], mirrored: bool) -> Truth:
    """The same in the photo of `frame` (h, w), resized to `size` (h, w) and then mirrored or not.

    Boxes are cut off at its border, and what is left without area is left out.
    """
    height, width = size
    factors = np.array([width / frame[1], height / frame[0]] * 2, np.float32)
    boxes = np.clip(truth["boxes"] * factors, 0, np.array([width, height] * 2, np.float32))
    if mirrored:
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    kept = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
    result: Truth = {"boxes": boxes[kept], "labels": truth["labels"][kept]}
    if "masks" not in truth:
        return result
    if isinstance(truth["masks"], np.ndarray):
        masks = truth["masks"][kept]
        rows, columns = (np.arange(now) * before // now for now, before in zip(size, masks.shape[1:]))
        masks = masks[:, rows][:, :, columns]
        result["masks"] = np.ascontiguousarray(masks[:, :, ::-1]) if mirrored else masks
    else:
        drawn = [mask for mask, keep in zip(truth["masks"], kept) if keep]
        result["masks"] = [[_stretched(points, factors, width, mirrored) for points in mask] for mask in drawn]
    return result


def _stretched(points: Sequence[float], factors: np.ndarray, width: int, mirrored: bool) -> list[float]:
    stretched = np.reshape(points, (-1, 2)) * factors[:2].astype(np.float64)
    if mirrored:
        stretched[:, 0] = width - stretched[:, 0]
    return stretched.ravel().tolist()
