"""What a training draws its batches from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from resnest.backends.training import Batch, Make, smoothed
from resnest.data.augment import Augment
from resnest.data.batches import Batches, Grouping, Key, mixed
from resnest.data.photos import prepare
from resnest.data.samples import Empty, Samples, named
from resnest.data.samples import Source as Images
from resnest.specs.protocols import DEFAULT, Preparation, preparation
from resnest.specs.recipe import Recipe

Evaluated = tuple[Any, Any, dict[int, str]]
"""Images, what the evaluation needs of them, and of images that cannot be read the numbers with the reasons.

For a classifier that is images (N, C, H, W) and labels (N,).
"""

Load = Callable[[Make, Iterable[Any]], Iterator[Any]]
"""From what makes a batch of a key, and the keys, to the batches; a DataLoader's work."""


class Broken(ValueError):
    """An image to train on cannot be read, or its label is no class."""


class Source(Protocol):
    """Images and what is in them, for training and for evaluation.

    A batch depends on the seed, the step and the numbers of its images alone, so that a training which is
    resumed, or shared between processes, sees the same.
    """

    classes: int
    names: Sequence[str] | None
    """What the classes are called, where that is known."""
    training: int
    """How many images there are to train on."""
    evaluation: int
    """How many there are to evaluate on; 0 for none."""
    grouping: Grouping | None
    """Which images are put together in batches; None for any."""

    def batches(self, keys: Batches) -> Iterator[Batch]:
        """For each list of the `keys` those images, augmented, and what the network is to say of them."""

    def evaluated(self, parts: Sequence[np.ndarray]) -> Iterator[Evaluated]:
        """For each of the `parts`, numbers of evaluation images, those images and what the evaluation needs of them.

        Images that cannot be read are left out of both; their numbers come with the reasons.
        """

    def name(self, number: int) -> str:
        """What to call an evaluation image in a message."""


class Arrays:
    """Images (N, C, H, W) that are in memory, with labels (N,); mixed as the recipe says, and not augmented."""

    names: Sequence[str] | None = None
    grouping: Grouping | None = None

    def __init__(
        self,
        training: tuple[np.ndarray, np.ndarray],
        evaluation: tuple[np.ndarray, np.ndarray],
        classes: int,
        recipe: Recipe,
        seed: int = 0,
    ):
        self.arrays = training
        self.held_out = evaluation
        self.classes = classes
        self.training, self.evaluation = len(training[1]), len(evaluation[1])
        self.recipe = recipe
        self.seed = seed

    def batches(self, keys: Batches) -> Iterator[Batch]:
        images, labels = self.arrays
        for step, part in numbered(keys):
            numbers = [number for _, number in part]
            yield _targeted(images[numbers], labels[numbers], self.classes, self.recipe, self.seed, step, part)

    def evaluated(self, parts: Sequence[np.ndarray]) -> Iterator[Evaluated]:
        images, labels = self.held_out
        for part in parts:
            yield images[part], labels[part], {}

    def name(self, number: int) -> str:
        return f"image {number}"


class Photos:
    """Photos in files, read ahead and augmented by the workers of a DataLoader; see `resnest.data.samples.open_split`.

    An image to train on that cannot be read, or a label that is no class, is Broken, which names it.
    """

    grouping: Grouping | None = None

    def __init__(
        self, training: Images, evaluation: Images | None, classes: int, recipe: Recipe, seed: int, load: Load
    ):
        self.classes = classes
        self.names: Sequence[str] | None = training.classes
        self.training, self.evaluation = len(training), 0 if evaluation is None else len(evaluation)
        samples = Samples(training, Augment(recipe.augmentation, recipe.size), seed)
        self.learned = _Learned(samples, classes, recipe)
        how = preparation(DEFAULT, recipe.eval_size, "")
        self.held_out = None if evaluation is None else _HeldOut(evaluation, classes, how)
        self.load = load

    def batches(self, keys: Batches) -> Iterator[Batch]:
        return unless_broken(self.load(self.learned, numbered(keys)))

    def evaluated(self, parts: Sequence[np.ndarray]) -> Iterator[Evaluated]:
        if self.held_out is None:
            return iter(())
        return unless_broken(self.load(self.held_out, (part.tolist() for part in parts)))

    def name(self, number: int) -> str:
        return "" if self.held_out is None else self.held_out.source.name(number)


def numbered(keys: Batches) -> Iterator[tuple[int, list[Key]]]:
    """Each list of the `keys` with the number of its step."""
    for number, part in enumerate(keys):
        yield keys.start + number // keys.parts, part


@dataclass(frozen=True)
class _Learned:
    """A batch as a step takes it for each numbered list of keys, or the error in place of it.

    The error is handed over, because one that is raised in a worker comes with the worker's traceback for a message.
    """

    samples: Samples
    classes: int
    recipe: Recipe

    def __call__(self, key: tuple[int, list[Key]], empty: Empty) -> Batch | ValueError:
        step, keys = key
        try:
            images, labels = self.samples.batch(keys, empty)
            _check_labels(labels, [index for _, index in keys], self.samples.source, self.classes)
        except ValueError as error:
            return error
        return _targeted(images, labels, self.classes, self.recipe, self.samples.seed, step, keys)


@dataclass(frozen=True)
class _HeldOut:
    """What can be read of each list of numbers, prepared, or the error in place of it."""

    source: Images
    classes: int
    how: Preparation

    def __call__(self, numbers: list[int], empty: Empty) -> Evaluated | ValueError:
        images = empty((len(numbers), 3, self.how.size, self.how.size), np.float32)
        labels: dict[int, int] = {}
        unreadable: dict[int, str] = {}
        for number in numbers:
            try:
                photo, label = self.source[number]
                images[len(labels)] = prepare(photo, self.how)[0]
                labels[number] = label
            except ValueError as error:
                unreadable[number] = named(error, self.source, number)
        found = np.array([*labels.values()], np.int64)
        try:
            _check_labels(found, [*labels], self.source, self.classes)
        except ValueError as error:
            return error
        return images[: len(found)] if unreadable else images, found, unreadable


def _check_labels(labels: np.ndarray, numbers: Sequence[int], source: Images, classes: int) -> None:
    for label, number in zip(labels, numbers):
        if label >= classes:
            raise ValueError(f"{source.name(number)} has the label {label}, and num_classes={classes}: give more")


def _targeted(
    images: np.ndarray, labels: np.ndarray, classes: int, recipe: Recipe, seed: int, step: int, keys: Sequence[Key]
) -> Batch:
    targets = smoothed(labels, classes, recipe.label_smoothing, images.dtype)
    return mixed(images, targets, recipe.mixup_alpha(keys[0][0]), seed, step)


def unless_broken(batches: Iterator[Any]) -> Iterator[Any]:
    """The batches; Broken where one is the error that came up in making it."""
    for batch in batches:
        if isinstance(batch, ValueError):
            raise Broken(*batch.args)
        yield batch
