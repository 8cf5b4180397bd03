"""How right a segmentation network is about a folder of photos with label maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from resnest.data import label_maps
from resnest.data.photos import open_photo
from resnest.jobs.predict.segmentation import Labeller
from resnest.jobs.processes import joined, process, processes, sum_over_processes
from resnest.jobs.verify.iou import Scores, confusion_matrix

Pair = tuple[Path, Path]

Track = Callable[[list[Pair]], Iterable[Pair]]
"""Gives the pairs on, and may show how many of them are done."""


def verify(
    labeller: Labeller, pairs: list[Pair], *, zero_is_ignored: bool | None = None, track: Track = lambda pairs: pairs
) -> Scores:
    """The scores on `pairs` of a photo and its label map; under torchrun the pairs are dealt out to its processes.

    `zero_is_ignored` counts the label maps' classes from 1; None does so where the data set's published ones
    do, which is ADE20K. Photos are seen upright, and their label maps are as large as that; all are looked into
    before the first is labelled. Raises ValueError for what is no photo or label map, or not of one size.
    """
    spec = labeller.spec
    if zero_is_ignored is None:
        zero_is_ignored = spec.dataset == "ade20k"
    label_maps.check_pairs(pairs)
    confusion = np.zeros((spec.num_classes, spec.num_classes), np.int64)
    with joined():
        for photo, label_map in track(pairs[process() :: processes()]):
            image = open_photo(photo)
            truth = label_maps.read_labels(label_map, spec.num_classes, zero_is_ignored)
            try:
                found = labeller.label(image)
            except ValueError as error:
                raise ValueError(f"{photo}: {error}") from None
            confusion += confusion_matrix(truth, found, spec.num_classes)
        return Scores(sum_over_processes(confusion))
