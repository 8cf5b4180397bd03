"""Which images each step of training sees, and how a batch of them is mixed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from resnest.data.draws import generator, order

Key = tuple[int, int]
"""Which sample: the epoch, which its randomness follows from, and the index of its image."""


class Grouping(NamedTuple):
    """Of what kind each image is (images,); images of a kind come together, `size` by `size`."""

    kinds: np.ndarray
    size: int


@dataclass(frozen=True)
class Batches:
    """The batches of all steps from `start` to the end, as lists of keys: a batch sampler for any DataLoader.

    Each epoch goes through the images in an order of its own and each step takes the next `batch` of
    them; the last, smaller batch of an epoch is left out where `drop_last`. Of `processes` that share
    a step, `process` gets its own part of it, in `parts` one after the other where it accumulates; the parts
    of all processes together are the batch, in its order. With a `grouping` the order of an epoch is one of groups, and
    what makes no group comes last. One that starts in the middle gives what is left of one that
    started before. Raises ValueError for a batch that cannot be dealt out evenly.
    """

    images: int
    batch: int
    epochs: int
    seed: int = 0
    drop_last: bool = True
    process: int = 0
    processes: int = 1
    parts: int = 1
    start: int = 0
    grouping: Grouping | None = None

    def __post_init__(self) -> None:
        shares = self.processes * self.parts
        if self.batch % shares:
            raise ValueError(
                f"batch={self.batch} cannot be dealt out to {self.processes} processes in {self.parts} parts each:"
                f" give a multiple of {shares}"
            )
        if shares > 1 and not self.drop_last:
            raise ValueError("drop_last=False leaves a batch that cannot be dealt out evenly: train in one process")
        if not self.steps_per_epoch:
            raise ValueError(f"batch={self.batch} is more than the {self.images} images there are: give a smaller one")

    @property
    def steps_per_epoch(self) -> int:
        full, left = divmod(self.images, self.batch)
        return full + (left > 0 and not self.drop_last)

    @property
    def steps(self) -> int:
        """Of all epochs, those before `start` too."""
        return self.steps_per_epoch * self.epochs

    def __len__(self) -> int:
        """Lists of keys that are still to come."""
        return max(self.steps - self.start, 0) * self.parts

    def __iter__(self) -> Iterator[list[Key]]:
        for epoch in range(self.start // self.steps_per_epoch, self.epochs):
            images = grouped(order(self.seed, epoch, self.images), self.grouping)
            first = self.start % self.steps_per_epoch if epoch == self.start // self.steps_per_epoch else 0
            for step in range(first, self.steps_per_epoch):
                yield from self._shares(epoch, images[step * self.batch : (step + 1) * self.batch])

    def _shares(self, epoch: int, images: np.ndarray) -> Iterator[list[Key]]:
        shares = np.split(images, self.processes * self.parts)
        for share in shares[self.process * self.parts : (self.process + 1) * self.parts]:
            yield [(epoch, index) for index in share.tolist()]


def grouped(images: np.ndarray, grouping: Grouping | None) -> np.ndarray:
    """The numbers of `images` in another order: a group as soon as it is full, and at last what is in none."""
    if grouping is None:
        return images
    filling: dict[int, list[int]] = {kind: [] for kind in np.unique(grouping.kinds).tolist()}
    done: list[int] = []
    for image, kind in zip(images.tolist(), grouping.kinds[images].tolist()):
        filling[kind].append(image)
        if len(filling[kind]) == grouping.size:
            done += filling[kind]
            filling[kind] = []
    return np.array(done + [image for group in filling.values() for image in group], images.dtype)


def mixed(images: np.ndarray, targets: np.ndarray, alpha: float, seed: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Mixup (arXiv 1710.09412): every image (N, ...) and its target (N, classes) with the one at the other end.

    One share is drawn for the step, from Beta(`alpha`, `alpha`), the same in all of its parts; 0 mixes nothing. The
    arrays themselves are mixed, because a batch of photos is large. Partners in reverse order are the authors'
    (scripts/gluon/train.py).
    """
    if not alpha:
        return images, targets
    share = float(generator(seed, "mixup", step).beta(alpha, alpha))
    for array in (images, targets):
        for one, other in zip(array[: (len(array) + 1) // 2], array[::-1]):
            one[...], other[...] = share * one + (1 - share) * other, share * other + (1 - share) * one
    return images, targets
