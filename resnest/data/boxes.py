"""Boxes as arrays (n, 4), in the two ways in which they are written down."""

from __future__ import annotations

import numpy as np


def with_sides(boxes: np.ndarray) -> np.ndarray:
    """x1 y1 x2 y2 as x y width height, as COCO writes boxes."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def with_corners(boxes: np.ndarray) -> np.ndarray:
    """x y width height as x1 y1 x2 y2, as networks see boxes."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
