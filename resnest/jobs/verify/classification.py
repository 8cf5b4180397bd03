"""How right a classifier is about a folder of images, in one backend or in several over the same pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path

import numpy as np

from resnest.backends.registry import Predict
from resnest.data.folders import ImageFolder
from resnest.data.imagenet import imagenet_classes
from resnest.data.loading import ahead
from resnest.data.photos import prepare
from resnest.data.samples import Source, named, open_split
from resnest.jobs.processes import gathered, joined, process, processes, sum_over_processes
from resnest.jobs.verify.accuracy import Accuracy, accuracy, guesses
from resnest.specs.protocols import Preparation

Progress = Callable[[int, Mapping[str, Accuracy]], None]
"""Told how many images this process has gone through, and each backend's accuracy on them."""


@dataclass(frozen=True)
class Verified:
    """Each backend's accuracy; the images that could not be read, with the reason; those that backends disagree on.

    Of the latter the first guess of each backend is given, NO_GUESS for none. Both are by name, in the order of the
    data.
    """

    accuracy: Mapping[str, Accuracy]
    unreadable: Mapping[str, str] = field(default_factory=dict)
    disagreements: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def open_evaluation(root: Path, num_classes: int, names: Sequence[str] | None = None) -> Source:
    """The images in `root/val`, or in `root` itself where it holds the class folders, labelled as a network counts.

    Class folders are those that the network's classes are called by, where the `names` are known, of however many. Else
    they are ImageNet's where all are called so, those of `root/train`, or without one their own; raises ValueError
    where that is not as many as the network tells apart.
    """
    inner = (root / "val").is_dir() or (root / "val.rec").exists()
    folder = root / "val" if inner else root
    if (root / "val.rec").exists() and not (root / "val").is_dir():
        return open_split(root, "val")
    if names is not None:
        return ImageFolder(folder, names)
    own = ImageFolder(folder).classes
    imagenet = imagenet_classes()
    if num_classes == len(imagenet) and set(own) <= set(imagenet):
        return ImageFolder(folder, imagenet)
    classes = ImageFolder(root / "train").classes if (root / "train").is_dir() else own
    if len(classes) != num_classes:
        raise ValueError(f"{root} holds {len(classes)} classes, and the network tells {num_classes} apart")
    return ImageFolder(folder, classes)


def _check_labels(source: Source, indices: Sequence[int], labels: Sequence[int], name: str, classes: int) -> None:
    """ValueError where an image is of a class that the network in the backend `name` does not have."""
    for index, label in zip(indices, labels):
        if label >= classes:
            raise ValueError(f"{source.name(index)} is of class {label}, and {name} has {classes}, from 0")


def verify(
    source: Source,
    predicts: Mapping[str, Predict],
    preparation: Preparation,
    *,
    batch: int = 32,
    threads: int = 2,
    progress: Progress = lambda images, accuracies: None,
) -> Verified:
    """What the backends in `predicts` make of every image in `source`, prepared once for all of them.

    Under torchrun the images are dealt out to its processes, none twice and none left out. An image that cannot be
    read is in no accuracy.
    """

    def sample(index: int) -> tuple[int, np.ndarray | str, int]:
        try:
            image, label = source[index]
            return index, prepare(image, preparation), label
        except ValueError as error:
            return index, named(error, source, index), 0

    counts = dict.fromkeys(predicts, Accuracy())
    unreadable: list[tuple[int, str]] = []
    disagreements: list[tuple[int, tuple[int, ...]]] = []
    waiting: list[tuple[int, np.ndarray, int]] = []

    def look() -> None:
        indices, images, labels = zip(*waiting)
        first = []
        for name, predict in predicts.items():
            logits = predict(np.concatenate(images))
            _check_labels(source, indices, labels, name, logits.shape[1])
            guessed = guesses(logits)
            counts[name] += accuracy(guessed, np.array(labels))
            first.append(guessed[:, 0].tolist())
        for index, *guess in zip(indices, *first):
            if len(set(guess)) > 1:
                disagreements.append((index, tuple(guess)))
        waiting.clear()

    with joined():
        share = range(process(), len(source), processes())
        for done, (index, image, label) in enumerate(ahead(sample, share, threads, 2 * batch), start=1):
            if isinstance(image, str):
                unreadable.append((index, image))
            else:
                waiting.append((index, image, label))
            if waiting and (len(waiting) == batch or done == len(share)):
                look()
            progress(done, counts)
        rows = np.array([astuple(one) for one in counts.values()], np.int64)
        totals = sum_over_processes(rows).tolist()
        return Verified(
            {name: Accuracy(*row) for name, row in zip(counts, totals)},
            {source.name(index): reason for index, reason in sorted(gathered(unreadable))},
            {source.name(index): guess for index, guess in sorted(gathered(disagreements))},
        )
