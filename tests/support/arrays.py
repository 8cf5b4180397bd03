"""Arrays to feed to networks, and how far apart two of them are."""

from __future__ import annotations

import numpy as np


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """max |a - b| over max |b|."""
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.abs(b).max())


def photo_like(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def as_dtype(arrays: dict[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    return {name: array.astype(dtype) for name, array in arrays.items()}
