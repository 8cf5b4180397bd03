"""Photos with objects in them, as detectors are trained and judged on them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resnest.backends.training import Batch
from resnest.data import detection as photos
from resnest.data.annotations import Annotations
from resnest.data.batches import Batches, Grouping, Key
from resnest.data.draws import generator
from resnest.data.opencv import resize_bilinear
from resnest.data.photos import open_photo, upright_size
from resnest.data.samples import Empty
from resnest.data.truths import Truth, is_learnt, moved, truth_of
from resnest.jobs.train.source import Evaluated, Load, numbered, unless_broken
from resnest.specs.detection.network import PAD, DetectionSpec
from resnest.specs.detection.recipe import DetectionRecipe

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """The photos in `folder` and their annotations."""

    annotations: Annotations
    folder: Path


class Data(NamedTuple):
    learned: Split
    held_out: Split | None


class Scenes:
    """Photos with objects in them, read ahead and augmented by the workers of a DataLoader.

    A photo to train on that cannot be read is Broken, which names it.
    """

    def __init__(self, data: Data, spec: DetectionSpec, recipe: DetectionRecipe, seed: int, load: Load):
        annotations = data.learned.annotations
        self.held_out = data.held_out
        self.category_ids = annotations.category_ids
        self.names: Sequence[str] | None = annotations.class_names
        self.classes = len(self.category_ids)
        learned, frames = chosen(data.learned, recipe)
        self.training = len(learned)
        self.evaluation = 0 if self.held_out is None else len(self.held_out.annotations.content["images"])
        self.grouping = Grouping(np.array([int(height <= width) for height, width in frames]), recipe.group)
        labels = {number: label for label, number in enumerate(self.category_ids)}
        self.learned = _Learned(learned, labels, spec.has_masks, recipe, seed)
        self.spec = spec
        self.load = load

    def batches(self, keys: Batches) -> Iterator[Batch]:
        return unless_broken(self.load(self.learned, numbered(keys)))

    def evaluated(self, parts: Sequence[np.ndarray]) -> Iterator[Evaluated]:
        """Each photo as a `resnest.data.detection.Batch`, None for one that cannot be read, and its number in the
        annotation file."""
        if self.held_out is None:
            return iter(())
        images = self.held_out.annotations.photos(self.held_out.folder)
        return self.load(_HeldOut(images, self.spec), (int(number) for part in parts for number in part))

    def name(self, number: int) -> str:
        return "" if self.held_out is None else str(self.held_out.annotations.content["images"][number]["file_name"])


def chosen(split: Split, recipe: DetectionRecipe) -> tuple[list[Scene], list[tuple[int, int]]]:
    """The photos that the recipe trains on, with their annotations, and their heights and widths.

    What is left out is said. Raises ValueError where nothing is left.
    """
    rows: dict[Any, list[dict[str, Any]]] = {}
    for row in split.annotations.content["annotations"]:
        rows.setdefault(row["image_id"], []).append(row)
    labels = dict.fromkeys(split.annotations.category_ids, 0)
    scenes, frames = [], []
    left_out = 0
    images = split.annotations.content["images"]
    for image, (number, path) in zip(images, split.annotations.photos(split.folder)):
        frame = image_frame(image, path)
        own = [row for row in rows.get(number, ()) if row["category_id"] in labels]
        if min(frame) < recipe.min_side or (recipe.filter_empty and not own):
            continue
        scenes.append(Scene(path, own))
        frames.append(frame)
        left_out += sum(not is_learnt(row, frame, labels) for row in own)
    path = split.annotations.path
    if not scenes:
        raise ValueError(
            f"{path} has no photo to train on: all of its {len(images)} have no objects or a side below"
            f" {recipe.min_side} pixels; filter_empty=false and min_side=0 take them"
        )
    if len(scenes) < len(images):
        logger.warning(
            "%s: %d of %d photos are left out, which have no objects or a side below %d pixels",
            *(path, len(images) - len(scenes), len(images), recipe.min_side),
        )
    if left_out:
        logger.warning("%s: %d objects are not learnt from: crowds, and boxes without area or outside", path, left_out)
    return scenes, frames


def image_frame(image: Mapping[str, Any], path: Path) -> tuple[int, int]:
    """The height and width of a photo: those in the annotation file, or where it has none the photo's own."""
    if {"height", "width"} <= image.keys():
        return image["height"], image["width"]
    (width, height), _ = upright_size(path)
    return height, width


class Scene(NamedTuple):
    """A photo and its rows in the annotation file."""

    path: Path
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Learned:
    """A batch as a step takes it for each numbered list of keys, or the error in place of it."""

    scenes: Sequence[Scene]
    labels: Mapping[int, int]
    masks: bool
    recipe: DetectionRecipe
    seed: int

    def __call__(self, key: tuple[int, list[Key]], empty: Empty) -> Batch | ValueError:
        _, keys = key
        try:
            seen = [self.sample(*one) for one in keys]
        except ValueError as error:
            return error
        sizes = np.array([pixels.shape[:2] for pixels, _ in seen])
        height, width = (-(-int(side) // PAD) * PAD for side in sizes.max(0))
        images = empty((len(seen), 3, height, width), np.float32)
        images[:] = 0
        for image, (pixels, _) in zip(images, seen):
            image[:, : pixels.shape[0], : pixels.shape[1]] = photos.normalise(pixels)
        return images, (sizes, [truth for _, truth in seen])

    def sample(self, epoch: int, index: int) -> tuple[np.ndarray, Truth]:
        """A photo (h, w, 3), resized and mirrored as the recipe draws it, and what is in it."""
        recipe, scene = self.recipe, self.scenes[index]
        random = generator(self.seed, "sample", epoch, index)
        least, most = recipe.short_sides
        short = least + recipe.short_step * int(random.integers((most - least) // recipe.short_step + 1))
        mirrored = bool(random.random() < recipe.flip)
        pixels = photos.as_pixels(open_photo(scene.path))
        frame = pixels.shape[0], pixels.shape[1]
        size = photos.fitted_size(*frame, (recipe.long_side, short))
        pixels = resize_bilinear(pixels, *size)
        truth = moved(truth_of(scene.rows, frame, self.labels, self.masks), frame, size, mirrored)
        return (np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels), truth


@dataclass(frozen=True)
class _HeldOut:
    """A photo as a detector reads it, and its number in the annotation file."""

    images: Sequence[tuple[int, Path]]
    spec: DetectionSpec

    def __call__(self, place: int, empty: Empty) -> Evaluated:
        number, path = self.images[place]
        try:
            return photos.prepare([open_photo(path)], self.spec), number, {}
        except ValueError as error:
            return None, number, {place: str(error)}
