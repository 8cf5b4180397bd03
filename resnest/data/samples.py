"""Images and labels as samples of training: what a DataLoader of either framework reads by key."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from resnest.data.batches import Key
from resnest.data.draws import generator
from resnest.data.folders import ImageFolder
from resnest.data.recordio import RecordFile

Transform = Callable[[Image.Image, np.random.Generator], np.ndarray]
"""From a photo in RGB, and what random numbers there are for it, to an array (3, H, W)."""


Empty = Callable[[tuple[int, ...], Any], np.ndarray]
"""From a shape and a dtype to an array of them with anything in it: NumPy's `empty`, or a loader's own memory."""


class Source(Protocol):
    """Images with labels, wherever they are kept."""

    @property
    def classes(self) -> list[str] | None:
        """What the labels mean, where that is known."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """An image in RGB and its label; ValueError that names it where it cannot be read."""

    def name(self, index: int) -> str:
        """What to call the image in a message."""


@dataclass(frozen=True)
class Samples:
    """The images of `source` as `transform` makes them, each with its label.

    What a sample draws follows from the seed, its epoch and its index alone.
    """

    source: Source
    transform: Transform
    seed: int = 0

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Key) -> tuple[np.ndarray, int]:
        """The sample of an (epoch, index): an array (3, H, W) and the label."""
        epoch, index = key
        image, label = self.source[index]
        return self.transform(image, generator(self.seed, "sample", epoch, index)), label

    def batch(self, keys: Sequence[Key], empty: Empty = np.empty) -> tuple[np.ndarray, np.ndarray]:
        """The samples of the `keys`, at least one: images (N, 3, H, W) in an `empty` array, and labels int64 (N,)."""
        first, label = self[keys[0]]
        images = empty((len(keys), *first.shape), first.dtype)
        labels = np.full(len(keys), label, np.int64)
        images[0] = first
        for place, key in enumerate(keys[1:], start=1):
            images[place], labels[place] = self[key]
        return images, labels


def named(error: ValueError, source: Source, index: int) -> str:
    """Why that image of the `source` cannot be read, in a sentence that names it."""
    return str(error) if source.name(index) in str(error) else f"{source.name(index)}: {error}"


def stacked(samples: list[tuple[np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray]:
    """A batch of samples: images (N, 3, H, W) and labels int64 (N,)."""
    images, labels = zip(*samples)
    return np.stack(images), np.array(labels, np.int64)


def open_split(root: str | os.PathLike, split: str, classes: list[str] | None = None) -> Source:
    """The part called `split` ("train", "val") of the data in the folder `root`: a folder of classes, or a `.rec` file.

    `classes` are those that were trained on; a record file has none. Raises FileNotFoundError where there is no such
    part.
    """
    folder = Path(root) / split
    if folder.is_dir():
        return ImageFolder(folder, classes)
    if folder.with_suffix(".rec").exists():
        return RecordFile(folder.with_suffix(".rec"))
    raise FileNotFoundError(f"{root} holds no folder {split} with a folder for each class, and no {split}.rec")
