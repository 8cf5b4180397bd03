"""From photos to the batch that a detector reads, the same for both backends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from resnest.data.opencv import resize_bilinear
from resnest.data.photos import rgb
from resnest.specs.detection.network import MEAN, PAD, STD, DetectionSpec


class Batch(NamedTuple):
    """Photos as a detector reads them, and what leads back to their own pixels.

    `images` are float32 (N, 3, H, W), normalised, with zeros at the bottom and right. `sizes` (N, 2) are their
    heights and widths without those, `scales` (N, 2) by how much a photo's width and height were
    multiplied, and `frames` the photos' own heights and widths.
    """

    images: np.ndarray
    sizes: np.ndarray
    scales: np.ndarray
    frames: list[tuple[int, int]]


def prepare(photos: Sequence[Any], spec: DetectionSpec) -> Batch:
    """PIL images or arrays (H, W, 3) of RGB in 0 to 255 as one batch; ValueError for what is no photo, or for none.

    Each is resized to fit the spec's `scale`, normalised, then padded.
    """
    if isinstance(photos, (str, Image.Image)) or getattr(photos, "ndim", 4) == 3:
        raise ValueError("photos come as a list: give [photo] for one")
    if not len(photos):
        raise ValueError("there is no photo to look at: give one or more")
    if spec.in_channels != 3:
        raise ValueError(f"{spec.name} takes {spec.in_channels} channels, and a photo has 3: give it arrays as a batch")
    pixels = [as_pixels(photo) for photo in photos]
    frames = [(photo.shape[0], photo.shape[1]) for photo in pixels]
    sizes = [fitted_size(*frame, spec.scale) for frame in frames]
    height, width = (-(-max(sides) // PAD) * PAD for sides in zip(*sizes))
    images = np.zeros((len(photos), 3, height, width), np.float32)
    for image, photo, (tall, wide) in zip(images, pixels, sizes):
        image[:, :tall, :wide] = normalise(resize_bilinear(photo, tall, wide))
    scales = [(wide / w, tall / h) for (h, w), (tall, wide) in zip(frames, sizes)]
    return Batch(images, np.array(sizes), np.array(scales), frames)


def fitted_size(height: int, width: int, scale: tuple[int, int]) -> tuple[int, int]:
    """The height and width that fit a long and a short side, in the photo's proportions, at least one pixel."""
    long, short = scale
    factor = min(long / max(height, width), short / min(height, width))
    return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)


def normalise(pixels: np.ndarray) -> np.ndarray:
    """RGB (H, W, 3) in 0 to 255 as float32 (3, H, W), with the detectors' mean and spread taken away."""
    normalised = (pixels.astype(np.float32) - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return normalised.transpose(2, 0, 1)


def as_pixels(photo: Any) -> np.ndarray:
    """A photo as uint8 (H, W, 3); ValueError for what is none."""
    if isinstance(photo, Image.Image):
        return np.asarray(rgb(ImageOps.exif_transpose(photo)))
    array = np.asarray(photo)
    if array.ndim != 3 or array.shape[2] != 3 or not array.size or array.dtype.kind not in "uif":
        given = f"an array {array.shape} of {array.dtype}" if isinstance(photo, np.ndarray) else f"{photo!r:.60}"
        raise ValueError(f"a photo is a PIL image or an array (H, W, 3) of numbers, and this is {given}")
    if array.dtype != np.uint8:
        if not np.isfinite(array).all():
            raise ValueError("this photo has pixels that are not finite: NaN or infinite")
        if array.min() < 0 or array.max() > 255:
            raise ValueError(f"a photo's pixels are 0 to 255, and these are {array.min():g} to {array.max():g}")
        if array.dtype.kind == "f" and array.min() < array.max() <= 1:
            raise ValueError("a photo's pixels are 0 to 255, and these are 0 to 1: give 255 times as much")
    return array.astype(np.uint8)
