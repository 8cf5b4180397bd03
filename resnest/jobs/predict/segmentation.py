"""From a photo to a label for each of its pixels: whole or by windows, at several scales, mirrored or not.

Nothing here knows a framework: a `Predict` gives the logits of an array, and every backend's
`predictor` makes one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from resnest.backends import registry
from resnest.backends.registry import Predict
from resnest.data.classes import label_dtype
from resnest.data.photos import normalise
from resnest.data.resize import bands, resize
from resnest.jobs.predict.checkpoint import open_checkpoint
from resnest.specs.segmentation.network import SegmentationSpec
from resnest.specs.segmentation.published import get_segmentation_spec

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
"""The scales of a multi-scale prediction, as both toolboxes evaluate."""

MODES = ("whole", "slide")


@dataclass(frozen=True)
class Inference:
    """How a photo is put through a network.

    In `mode` slide the network sees squares of `window` pixels, one every `stride` pixels, and
    where they overlap their logits are averaged. The class probabilities of all `scales`, and of the
    mirrored photo where `flip`, are averaged. Raises ValueError for values that cover no photo.
    """

    mode: str = "whole"
    window: int = 512
    stride: int = 341
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode={self.mode!r} must be whole or slide")
        if not 1 <= self.stride <= self.window:
            raise ValueError(f"stride={self.stride!r} must be at least 1 and at most the window, {self.window!r}")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales={self.scales!r} must be one or more numbers above 0")

    def probabilities(self, predict: Predict, image: np.ndarray) -> np.ndarray:
        """Class probabilities (1, classes, H, W) of a normalised photo (1, 3, H, W).

        They take the place of the logits that `predict` gives, so that one full-size set of them is held for a
        photo seen once, and two for one seen several times.
        """
        _, _, height, width = image.shape
        self._check_size(height, width)
        total: np.ndarray | None = None
        for scale in self.scales:
            scaled = resize(image, max(round(height * scale), 1), max(round(width * scale), 1))
            for step in (1, -1) if self.flip else (1,):
                seen = np.ascontiguousarray(scaled[..., ::step])
                logits = self._logits(predict, seen)[..., ::step]
                first = total is None
                if total is None:
                    total = _place(logits, seen, height, width)
                for rows, band in bands(logits, height, width):
                    soften(band)
                    if first:
                        total[:, :, rows] = band
                    else:
                        total[:, :, rows] += band
                del logits  # before the next ones come
        if total is None:
            raise ValueError("there is no scale to see the photo at")
        total /= len(self.scales) * (2 if self.flip else 1)
        return total

    def _check_size(self, height: int, width: int) -> None:
        smallest = min(self.scales)
        if self.mode == "slide" and min(height, width) * smallest < self.window:
            at = "" if smallest == 1 else f" at scale {smallest:g}"
            raise ValueError(
                f"a photo of {height}x{width} pixels{at} is smaller than the window of {self.window}:"
                " give a smaller window, or predict it whole"
            )

    def _logits(self, predict: Predict, image: np.ndarray) -> np.ndarray:
        return predict(image) if self.mode == "whole" else slide(predict, image, self.window, self.stride)


def slide(predict: Predict, image: np.ndarray, window: int, stride: int) -> np.ndarray:
    """Logits (1, classes, H, W) averaged over every window that sees a pixel."""
    _, _, height, width = image.shape
    total: np.ndarray | None = None
    seen = np.zeros((height, width), image.dtype)
    for top in starts(height, window, stride):
        for left in starts(width, window, stride):
            place = (..., slice(top, top + window), slice(left, left + window))
            logits = predict(np.ascontiguousarray(image[place]))
            if total is None:
                total = np.zeros((*logits.shape[:2], height, width), logits.dtype)
            total[place] += logits
            seen[place] += 1
    if total is None:
        raise ValueError(f"no window of {window} pixels covers an image of {height}x{width}")
    total /= seen
    return total


def starts(length: int, window: int, stride: int) -> Iterator[int]:
    """Where windows begin: every `stride` pixels, the last one moved back to end with the image."""
    for number in range(max(length - window + stride - 1, 0) // stride + 1):
        yield max(min(number * stride, length - window), 0)


def _place(logits: np.ndarray, image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Where probabilities may be written: over the logits, unless they are of another size or the image itself."""
    fits = logits.shape[2:] == (height, width) and logits.flags.writeable
    if fits and not np.may_share_memory(logits, image):
        return logits
    return np.empty((*logits.shape[:2], height, width), logits.dtype)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over axis 1."""
    probabilities = np.array(logits)
    soften(probabilities)
    return probabilities


def soften(logits: np.ndarray) -> None:
    """Put in the place of logits their probabilities over axis 1."""
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)


def enlarge(probabilities: np.ndarray, height: int, width: int) -> np.ndarray:
    """The label map (height, width) of class probabilities (1, classes, h, w) of another size."""
    labels = np.empty((height, width), label_dtype(probabilities.shape[1]))
    for rows, band in bands(probabilities, height, width):
        labels[rows] = band[0].argmax(0)
    return labels


def _by(width: int, height: int) -> str:
    return f"{width}x{height}"


@dataclass(frozen=True)
class Labeller:
    """A segmentation network with weights, and how photos are put through it.

    `size` is the short side in pixels to which a photo is resized first; None leaves it as it is.
    """

    spec: SegmentationSpec
    predict: Predict
    inference: Inference
    size: int | None = None

    def label(self, photo: Image.Image) -> np.ndarray:
        """The label map (H, W) of a photo, at its own size, whatever size the network saw."""
        seen = photo
        if self.size is not None:
            scale = self.size / min(photo.size)
            sides = max(round(photo.width * scale), 1), max(round(photo.height * scale), 1)
            if Image.MAX_IMAGE_PIXELS is not None and math.prod(sides) > Image.MAX_IMAGE_PIXELS:
                raise ValueError(f"a photo of {_by(*photo.size)} pixels would be {_by(*sides)} when it is resized")
            seen = photo.resize(sides, Image.Resampling.BILINEAR)
        found = self.inference.probabilities(self.predict, normalise(seen))
        return enlarge(found, photo.height, photo.width)


def open_labeller(
    weights: str | os.PathLike,
    inference: Inference,
    *,
    model: str | None = None,
    which: str | None = None,
    backend: str = registry.FIRST,
    device: str = "cpu",
    size: int | None = None,
) -> Labeller:
    """The network of a checkpoint: the published one called `model`, or without it what the tensors are recognised as.

    `which` chooses between the networks in the file, as in `resnest.weights.load`. Raises ValueError, naming the file,
    for weights that are no segmentation network's or not the model's.
    """
    published = get_segmentation_spec(model) if model else None
    spec, arrays = open_checkpoint(SegmentationSpec, weights, published, which)
    return Labeller(spec, registry.load(backend).predictor(spec, arrays, device), inference, size)
