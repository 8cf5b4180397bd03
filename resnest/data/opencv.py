"""OpenCV's bilinear resize of 8-bit images in NumPy, to the bit, so that nobody needs OpenCV for it.

It takes two pixels in each direction, whatever the scale (no averaging where an image shrinks), with weights of
11 bits. Source: OpenCV's `resize` with `INTER_LINEAR`, modules/imgproc/src/resize.cpp, of the releases since 3.0
without Intel's closed IPP, which rounds differently: MXNet's wheels hold such a one.
"""

from __future__ import annotations

import numpy as np

ONE = 1 << 11
"""The weight 1, in the fixed point of OpenCV's coefficients."""

BAND = 1 << 20
"""Numbers that are worked on at a time."""


def resize_bilinear(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 (h, w, channels) at another height and width."""
    if pixels.shape[:2] == (height, width):
        return pixels.copy()
    if pixels.shape[:2] == (2 * height, 2 * width):  # OpenCV takes the mean there, without a word
        quarters = pixels.reshape(height, 2, width, 2, -1).astype(np.uint16)
        return ((quarters.sum(axis=(1, 3), dtype=np.uint16) + 2) >> 2).astype(np.uint8)
    left, right, columns = _columns(pixels.shape[1], width)
    upper, lower, rows = _rows(pixels.shape[0], height)
    result = np.empty((height, width, pixels.shape[2]), np.uint8)
    step = max(BAND // (width * pixels.shape[2]), 1)
    for start in range(0, height, step):
        band = slice(start, start + step)
        first, last = upper[band][0], lower[band][-1] + 1
        source = pixels[first:last]
        lines = source[:, left] * columns[0] + source[:, right] * columns[1]  # 19 bits: a pixel times a weight
        lines >>= 4
        parts = (
            (lines[place[band] - first] * weight[band]) >> 16 for place, weight in ((upper, rows[0]), (lower, rows[1]))
        )
        result[band] = (sum(parts) + 2) >> 2
    return result


def _columns(before: int, after: int) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Of each new column the two old ones and their weights (width, 1); at the borders one column counts alone."""
    place, share = _places(before, after)
    share[(place < 0) | (place >= before - 1)] = 0
    left = np.clip(place, 0, before - 1)
    weights = _fixed(share)
    return left, np.minimum(left + 1, before - 1), (weights[0][:, None], weights[1][:, None])


def _rows(before: int, after: int) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Of each new row the two old ones and their weights (height, 1, 1); at the borders a row is taken twice."""
    place, share = _places(before, after)
    weights = _fixed(share)
    upper, lower = (np.clip(place + step, 0, before - 1) for step in (0, 1))
    return upper, lower, (weights[0][:, None, None], weights[1][:, None, None])


def _places(before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each new pixel's centre lies among the old ones: the pixel before it, and how far behind that one."""
    scale = 1 / (after / before)  # as OpenCV computes it
    exact = ((np.arange(after) + 0.5) * scale - 0.5).astype(np.float32)
    place = np.floor(exact).astype(np.int64)
    return place, exact - place.astype(np.float32)


def _fixed(share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weights of the pixel before and the pixel behind, as OpenCV rounds them."""
    one = np.float32(ONE)
    return np.rint((1 - share) * one).astype(np.int32), np.rint(share * one).astype(np.int32)
