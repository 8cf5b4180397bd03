"""Boxes and what lies in them: anchors, deltas, suppression, RoIAlign over a pyramid, masks put back into an image.

Boxes are NumPy arrays (..., 4), x1 y1 x2 y2 in pixels: MXNet's arrays cannot be empty, and what is found may be.
The operators are MXNet's, used as mmdetection uses mmcv's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from resnest.gluon._mxnet import mx
from resnest.specs.detection.anchors import MAX_LOG_RATIO, AnchorSpec, Box
from resnest.specs.detection.heads import FINEST_REGION, SAMPLES

MOST_AT_ONCE = 10_000
"""From so many boxes on suppression goes group by group, as mmcv's does: one call would take their square in time."""

BAND = 2**24
"""Pixels of masks that are put into an image at once, so that a large photo takes no more memory than a small one."""


def grid(anchors: AnchorSpec, level: int, x: Any) -> np.ndarray:
    """All anchors (H * W * ratios, 4) of x, map number `level`, row by row, in its dtype."""
    stride, like = anchors.strides[level], x
    y, x = (np.arange(side, dtype=like.dtype) * stride for side in like.shape[2:])
    y, x = np.meshgrid(y, x, indexing="ij")
    shifts = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4)
    return (shifts + np.array(anchors.at_origin(level), like.dtype)).reshape(-1, 4)


def decode(boxes: np.ndarray, deltas: np.ndarray, stds: Box, sizes: np.ndarray) -> np.ndarray:
    """The `boxes` moved and scaled by `deltas` (dx, dy, dw, dh), clipped to images of `sizes` (..., 2), (h, w)."""
    deltas = deltas * np.array(stds, deltas.dtype)
    centre = (boxes[..., :2] + boxes[..., 2:]) * 0.5
    sides = boxes[..., 2:] - boxes[..., :2]
    centre = centre + sides * deltas[..., :2]
    sides = sides * np.exp(np.clip(deltas[..., 2:], -MAX_LOG_RATIO, MAX_LOG_RATIO))
    return clip(np.concatenate([centre - sides * 0.5, centre + sides * 0.5], axis=-1), sizes)


def clip(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The part of each box that lies in its image; `sizes` are (..., 2), height and width."""
    limits = sizes[..., ::-1].astype(boxes.dtype)
    return np.minimum(np.maximum(boxes, 0), np.concatenate([limits, limits], axis=-1))


def suppress(boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, iou: float) -> np.ndarray:
    """Indices of the boxes that no better one of their group meets at more than `iou`, best first.

    The groups are moved apart and suppressed in one call, as in mmdetection.
    """
    if not len(boxes):
        return np.zeros(0, np.int64)
    apart = boxes + (groups.astype(boxes.dtype) * (boxes.max() + 1))[:, None]
    if len(boxes) < MOST_AT_ONCE:
        return _best(apart, scores, np.arange(len(boxes)), iou)
    left = [_best(apart, scores, (groups == group).nonzero()[0], iou) for group in np.unique(groups)]
    kept = np.sort(np.concatenate(left))
    return kept[np.argsort(-scores[kept], kind="stable")]


def _best(boxes: np.ndarray, scores: np.ndarray, members: np.ndarray, iou: float) -> np.ndarray:
    order = members[np.argsort(-scores[members], kind="stable")]
    rows = np.column_stack([scores[order], boxes[order], np.arange(len(order))]).astype(boxes.dtype)
    rows = mx.nd.array(rows, dtype=rows.dtype)
    left = mx.nd.contrib.box_nms(rows, overlap_thresh=iou, valid_thresh=-1, coord_start=1, score_index=0, id_index=-1)
    numbers = left[:, 5].asnumpy()
    return order[np.sort(numbers[numbers >= 0].astype(np.int64))]


def joined(boxes: Sequence[np.ndarray]) -> np.ndarray:
    """Regions (K, 5) out of the boxes of each image: the image's number stands in front."""
    return np.concatenate(
        [np.concatenate([np.full((len(box), 1), i, box.dtype), box], 1) for i, box in enumerate(boxes)]
    )


def align(maps: Sequence[Any], regions: np.ndarray, strides: Sequence[int], size: int) -> Any:
    """What lies in `regions` (K, 5), one or more, cut out of the map that suits their size: (K, C, size, size).

    A region of up to 112 pixels is of the first map, and of each further one at twice that.
    """
    sides = regions[:, 3:] - regions[:, 1:3]
    # mmdetection adds the small number before it takes the logarithm.
    levels = np.floor(np.log2(np.sqrt(sides.prod(axis=1)) / FINEST_REGION + 1e-6)).clip(0, len(maps) - 1)
    cut, places = [], []
    for level, (x, stride) in enumerate(zip(maps, strides)):
        members = (levels == level).nonzero()[0]
        if len(members):
            rows = mx.nd.array(regions[members], ctx=x.ctx, dtype=x.dtype)
            options = {"spatial_scale": 1 / stride, "sample_ratio": SAMPLES or -1, "aligned": True}
            cut.append(mx.nd.contrib.ROIAlign(x, rows, pooled_size=(size, size), **options))
            places.append(members)
    found = mx.nd.concat(*cut, dim=0)
    back = np.argsort(np.concatenate(places))
    return mx.nd.take(found, mx.nd.array(back, ctx=found.ctx, dtype="int64"))


def paste(masks: np.ndarray, boxes: np.ndarray, frame: Sequence[int], threshold: float) -> np.ndarray:
    """Masks (n, S, S) of probabilities, stretched over their boxes: (n, H, W), true from `threshold` on.

    `frame` is the height and width of the image. Bilinear, pixels taken as squares, nothing outside the box, band by
    band of rows.
    """
    height, width = frame
    columns = _stretch(boxes[:, 0], boxes[:, 2], width, masks)  # (n, width, S)
    rows = _stretch(boxes[:, 1], boxes[:, 3], height, masks)
    across = masks @ columns.transpose(0, 2, 1)  # (n, S, width)
    pasted = np.zeros((len(masks), height, width), bool)
    step = max(BAND // max(len(masks) * width, 1), 1)
    for top in range(0, height, step):
        pasted[:, top : top + step] = rows[:, top : top + step] @ across >= threshold
    return pasted


def _stretch(start: np.ndarray, stop: np.ndarray, pixels: int, masks: np.ndarray) -> np.ndarray:
    """The weight (n, pixels, S) of each of a mask's S cells in each pixel, where they reach from start to stop."""
    cells = np.arange(masks.shape[-1], dtype=masks.dtype)
    centres = np.arange(pixels, dtype=masks.dtype) + masks.dtype.type(0.5)
    with np.errstate(divide="ignore", invalid="ignore"):  # an empty box
        position = (centres - start[:, None]) / (stop - start)[:, None] * masks.shape[-1] - 0.5
        return np.maximum(1 - np.abs(position[..., None] - cells), 0)
