"""From a photo to the normalised array that a network reads, the same for both backends."""

from __future__ import annotations

import os
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from resnest.specs.resnest import BICUBIC_FROM, MARGIN, MEAN, STD

PHOTOS = (".jpg", ".jpeg", ".png", ".webp")
"""What the name of a photo ends with."""


def load_image(path: str | os.PathLike | None, size: int) -> np.ndarray:
    """The photo at `path` as float32 (1, 3, size, size), prepared as in the published evaluation.

    The centred square of side `short side * size / (size + 32)` is resized to `size` pixels and
    normalised. Without a path it is the photo that comes with this package. Raises
    FileNotFoundError, and ValueError for a file that is no photo.
    """
    if path is None:
        with as_file(files("resnest") / "data" / "assets" / "chelsea.jpg") as sample:
            return load_image(sample, size)
    return prepare(open_photo(path), size)


def open_photo(path: str | os.PathLike) -> Image.Image:
    """The photo at `path`, upright and in RGB. Raises FileNotFoundError, and ValueError for a file that is no photo."""
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no photo {path}") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # Pillow's words for a broken file
        raise ValueError(f"{path} is no photo that can be read: {error}") from None


def prepare(image: Image.Image, size: int) -> np.ndarray:
    """`image`, upright and in RGB, cropped, resized and normalised to float32 (1, 3, size, size)."""
    image = ImageOps.exif_transpose(image).convert("RGB")
    side = min(image.size) * size / (size + MARGIN)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    resample = Image.Resampling.BICUBIC if size >= BICUBIC_FROM else Image.Resampling.BILINEAR
    square = image.resize((size, size), resample, box=(left, top, left + side, top + side))
    return normalise(square)


def normalise(image: Image.Image) -> np.ndarray:
    """An RGB image of any size as float32 (1, 3, H, W), with the mean and spread of ImageNet taken away."""
    pixels = np.asarray(image, np.float32) / 255  # (H, W, 3)
    normalised = (pixels - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(normalised.transpose(2, 0, 1)[None])


def find_photos(folder: str | os.PathLike) -> list[Path]:
    """The photos in `folder`, sorted; FileNotFoundError where it is none."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder} with photos")
    return sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in PHOTOS)
