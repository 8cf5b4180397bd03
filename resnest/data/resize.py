"""Bilinear resizing of arrays, exact in their dtype; a pixel is a square (`align_corners=False`).

Each new pixel is made of two old ones in each direction. What has to be large is made some rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

BAND = 1 << 21
"""Bytes that are worked on at a time: what the caches of a processor hold."""


class Taps(NamedTuple):
    """The two old pixels that each new one is made of, `(length,)` each, and their float64 weights."""

    before: np.ndarray
    behind: np.ndarray
    near: np.ndarray
    far: np.ndarray


def taps(before: int, after: int) -> Taps:
    """Where each of `after` pixels lies among `before` ones."""
    position = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    first = np.floor(position).astype(np.int32)
    return Taps(first, np.minimum(first + 1, before - 1), 1 - (position - first), 1 - (first + 1 - position))


def bilinear_matrix(before: int, after: int) -> np.ndarray:
    """The same as a matrix (before, after), for frameworks that multiply faster than they gather."""
    matrix, places = np.zeros((before, after)), taps(before, after)
    matrix[places.before, np.arange(after)] += places.near
    matrix[places.behind, np.arange(after)] += places.far
    return matrix


def resize(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """(N, C, h, w) at another height and width, in its dtype; `x` itself where it has them."""
    if x.shape[2:] == (height, width):
        return x
    resized = np.empty((*x.shape[:2], height, width), x.dtype)
    for rows, band in bands(x, height, width):
        resized[:, :, rows] = band
    return resized


def bands(x: np.ndarray, height: int, width: int) -> Iterator[tuple[slice, np.ndarray]]:
    """What `resize` gives, some rows at a time: which rows, and a fresh (N, C, rows, width) with them."""
    count, channels, tall, wide = x.shape
    vertical, horizontal = taps(tall, height), taps(wide, width)
    old_rows = max(tall / height, 1)
    step = max(int(BAND / (count * channels * max(wide, width) * old_rows * x.itemsize)), 1)
    for start in range(0, height, step):
        rows = slice(start, min(start + step, height))
        first, last = (
            (rows.start, rows.stop) if tall == height else (vertical.before[start], vertical.behind[rows.stop - 1] + 1)
        )
        band = x[:, :, first:last]
        if wide != width:
            band = _mixed(band, horizontal, 3)
        if tall != height:
            inside = Taps(*(part[rows] for part in vertical))
            band = _mixed(band, inside._replace(before=inside.before - first, behind=inside.behind - first), 2)
        yield rows, band.copy() if np.may_share_memory(band, x) else band


def _mixed(x: np.ndarray, places: Taps, axis: int) -> np.ndarray:
    """`x` along one axis, as the taps say."""
    shape = [-1 if number == axis else 1 for number in range(x.ndim)]
    near, far = (weight.astype(x.dtype).reshape(shape) for weight in (places.near, places.far))
    mixed = np.take(x, places.before, axis)
    mixed *= near
    other = np.take(x, places.behind, axis)
    other *= far
    mixed += other
    return mixed
