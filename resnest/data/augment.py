"""A photo as a network sees it in training: cut out, mirrored, recoloured and normalised, by a recipe.

Whatever is drawn comes from the generator that is handed in, so a sample is the same wherever and whenever it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from resnest.data.photos import normalise
from resnest.data.policies import autoaugment, randaugment
from resnest.specs.protocols import DEFAULT, preparation
from resnest.specs.recipe import Augmentation

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels."""

EIGENVALUES = np.array([0.2175, 0.0188, 0.0045])
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
"""Principal components of the colours of ImageNet, RGB in [0, 1]: one column each (AlexNet, section 4.1)."""


@dataclass(frozen=True)
class Augment:
    """From a photo in RGB to float32 (3, size, size), as `augmentation` says."""

    augmentation: Augmentation
    size: int

    def __call__(self, image: Image.Image, random: np.random.Generator) -> np.ndarray:
        recipe = self.augmentation
        image = self.policy(image, random)
        image = self.resized(image.crop(crop_box(recipe, self.size, *image.size, random)))
        if random.random() < recipe.flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = jittered(image, recipe.jitter, random)
        return normalise(image, lighting(recipe.lighting, random))[0]

    def policy(self, image: Image.Image, random: np.random.Generator) -> Image.Image:
        """The whole photo after the recipe's policy."""
        if self.augmentation.auto == "autoaugment":
            return autoaugment(image, random)
        if self.augmentation.auto == "randaugment":
            return randaugment(image, self.augmentation.operations, self.augmentation.level, random)
        return image

    def resized(self, image: Image.Image) -> Image.Image:
        """The whole of `image` at the recipe's size."""
        size, recipe = (self.size, self.size), self.augmentation
        resampling = Image.Resampling[recipe.interpolation.upper()]
        if recipe.antialias:
            return image.resize(size, resampling)
        return image.transform(size, Image.Transform.EXTENT, (0, 0, *image.size), resampling)


@dataclass(frozen=True)
class Foreign:
    """Another library's transforms in place of `Augment`, of torchvision's `v2` for example.

    `transform` takes a photo and gives an array or tensor (3, H, W). What it draws from its library's one
    generator follows from the sample, because `seed`, `torch.manual_seed` for example, is called with a number before.
    """

    transform: Callable[[Image.Image], Any]
    seed: Callable[[int], Any]

    def __call__(self, image: Image.Image, random: np.random.Generator) -> np.ndarray:
        self.seed(int(random.integers(2**32)))
        return np.asarray(self.transform(image))


def crop_box(recipe: Augmentation, size: int, width: int, height: int, random: np.random.Generator) -> Box:
    """The part of a photo that is cut out, at whole pixels."""
    if recipe.crop != "centre":
        draw = _inception_size if recipe.crop == "inception" else _efficientnet_size
        for _ in range(recipe.tries):
            found = draw(recipe, width, height, random)
            if found is None:
                continue
            if recipe.crop == "efficientnet" and found == (width, height):
                break
            left, top = (int(random.integers(whole - part + 1)) for whole, part in zip((width, height), found))
            return left, top, left + found[0], top + found[1]
    return preparation(DEFAULT, size, "").box(width, height)


def _inception_size(
    recipe: Augmentation, width: int, height: int, random: np.random.Generator
) -> tuple[int, int] | None:
    """Width and height of a box as mxnet.image.random_size_crop draws it, torchvision too; None for one too large."""
    area = random.uniform(*recipe.area) * width * height
    ratio = math.exp(random.uniform(math.log(recipe.ratio[0]), math.log(recipe.ratio[1])))
    found = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    return found if 0 < found[0] <= width and 0 < found[1] <= height else None


MIN_COVERED = 0.1
"""The least part of a photo that an "efficientnet" box covers, whatever the recipe's area is."""


def _efficientnet_size(
    recipe: Augmentation, width: int, height: int, random: np.random.Generator
) -> tuple[int, int] | None:
    """Width and height of a box as TensorFlow's sample_distorted_bounding_box draws it; None for one that does not do.

    Source: ERandomCrop in the authors' resnest/gluon/transforms.py.
    """
    least, most = (part * width * height for part in recipe.area)
    ratio = random.uniform(*recipe.ratio)
    highest = round(math.sqrt(most / ratio))
    if highest * ratio > width:
        highest = int((width + 0.5 - 1e-7) / ratio)
        highest -= highest * ratio > width
    highest = min(highest, height)
    lowest = min(round(math.sqrt(least / ratio)), highest)
    found_height = round(random.uniform(lowest, highest))
    found_width = round(found_height * ratio)
    area = found_width * found_height
    fits = 0 < found_width <= width and 0 < found_height <= height
    return (found_width, found_height) if fits and max(least, MIN_COVERED * width * height) <= area <= most else None


def jittered(image: Image.Image, jitter: float, random: np.random.Generator) -> Image.Image:
    """`image` with brightness, contrast and saturation scaled by 1 - `jitter` to 1 + `jitter` each, in any order."""
    if not jitter:
        return image
    enhancers = ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color
    for number in np.argsort(random.random(len(enhancers))):
        image = enhancers[number](image).enhance(random.uniform(1 - jitter, 1 + jitter))
    return image


def lighting(deviation: float, random: np.random.Generator) -> np.ndarray:
    """What is added to red, green and blue in [0, 1]: noise along the principal colours, float64 (3,)."""
    if not deviation:
        return np.zeros(3)
    return EIGENVECTORS @ (EIGENVALUES * random.normal(0, deviation, 3))
