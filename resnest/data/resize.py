"""Bilinear resizing; a pixel is a square (`align_corners=False`).

`resize` is exact in its dtype, by two matrix products; `resize_pixels` gives the whole numbers that OpenCV does.
"""

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


def resize_pixels(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (h, w, C) at another height and width, to the pixel as OpenCV's `INTER_LINEAR` does it.

    No pixel but the nearest two of each direction counts, also where the image shrinks. Weights are whole numbers of
    1 / 2048, and half the size is the mean of four pixels, as there (modules/imgproc/src/resize.cpp).
    """
    if pixels.shape[:2] == (2 * height, 2 * width):
        whole = pixels.astype(np.int32)
        four = whole[::2, ::2] + whole[1::2, ::2] + whole[::2, 1::2] + whole[1::2, 1::2]
        return (four + 2 >> 2).astype(np.uint8)
    left, right, near, far = _nearest_two(pixels.shape[1], width, ends=True)
    upper, lower, above, below = _nearest_two(pixels.shape[0], height, ends=False)
    whole = pixels.astype(np.int32)
    across = whole[:, left] * near[:, None] + whole[:, right] * far[:, None] >> 4
    down = (across[upper] * above[:, None, None] >> 16) + (across[lower] * below[:, None, None] >> 16)
    return (down + 2 >> 2).astype(np.uint8)


def _nearest_two(before: int, after: int, *, ends: bool) -> tuple[np.ndarray, ...]:
    """Of each new pixel the two old ones that it lies between, and their weights in 2048; float32, as there.

    A pixel beyond the `ends` is the last one's alone. Where it is not said so it is twice the last one's.
    """
    position = ((np.arange(after) + 0.5) * (1 / (after / before)) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    part = (position - first).astype(np.float32)
    if ends:
        part[(first < 0) | (first >= before - 1)] = 0
    weights = (np.rint(share * 2048).astype(np.int32) for share in (np.float32(1) - part, part))
    return *(np.clip(pixel, 0, before - 1) for pixel in (first, first + 1)), *weights
