"""Bilinear resizing by two matrix products, exact in the dtype; a pixel is a square (`align_corners=False`)."""

from __future__ import annotations

from functools import cache

import numpy as np


@cache
def bilinear_matrix(before: int, after: int) -> np.ndarray:
    """The weights (before, after) of each old pixel in each new one, float64."""
    position = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    return np.maximum(0, 1 - np.abs(position[None] - np.arange(before)[:, None]))


def resize(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """(N, C, h, w) at another height and width, in its dtype."""
    if x.shape[2:] == (height, width):
        return x
    rows = bilinear_matrix(x.shape[2], height).astype(x.dtype)
    columns = bilinear_matrix(x.shape[3], width).astype(x.dtype)
    return rows.T @ (x @ columns)
