"""Random numbers that follow from where they are used, not from what was drawn before.

What one sample, one batch or one epoch draws depends on the seed and on its own numbers alone. So any
number of workers, in any order, and any restart draw the same.
"""

from __future__ import annotations

import numpy as np

PURPOSES = ("order", "sample", "mixup", "network")
"""What is drawn; the same numbers give each purpose others."""


def generator(seed: int, purpose: str, *place: int) -> np.random.Generator:
    """The random numbers for `purpose` at the `place` (epoch, index, step, ...), each from 0 and below 2**32."""
    # Purpose and place are no part of the entropy proper: NumPy fills that up with zeros, and (1,) would be (1, 0).
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=(_NUMBERS[purpose], *place))))


_NUMBERS = {purpose: number for number, purpose in enumerate(PURPOSES)}


def order(seed: int, epoch: int, images: int) -> np.ndarray:
    """The numbers 0 to `images` - 1 as `epoch` goes through them, int64 (images,)."""
    # Sorting raw numbers instead of `permutation`, which another NumPy may do in another way.
    raw = generator(seed, "order", epoch).bit_generator.random_raw(images)
    return np.argsort(raw, kind="stable")
