"""Label maps: reading and writing one, and finding those of a folder of photos.

A label map is a grey or palette image as large as its photo, seen upright. In 8 bits 255 is no class; for networks of
256 classes and more it has 16 bits, in which 65535 is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from resnest.data.classes import IGNORED, ignored, label_dtype
from resnest.data.photos import PHOTOS, find_photos, upright_size

LABEL_MAPS = (".png", ".tif", ".tiff")
"""What the name of a label map ends with."""

_LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF")
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp", "lerc")

# Grey that Pillow, as every reader of pictures, multiplies until it fills 8 bits.
_STRETCHED = ("L;2", "L;4")

# Cityscapes calls the two files of one photo by different endings.
_ENDINGS = ("_leftImg8bit", "_gtFine_labelTrainIds")


def read_labels(path: Path, num_classes: int, zero_is_ignored: bool) -> np.ndarray:
    """The label map (H, W) at `path`, int64, with `ignored(num_classes)` where no class is known.

    `zero_is_ignored` counts the file's classes from 1 and takes 0 for no class. Raises ValueError for an image that
    is no label map or has labels beyond `num_classes`.
    """
    with _opened(path) as image:
        image.load()
        wide = image.mode.startswith("I")
        found = np.asarray(image).astype(np.int64)
    unknown = found == (65535 if wide else IGNORED)
    if num_classes <= IGNORED:  # then it is no class in 16 bits either
        unknown |= found == IGNORED
    if zero_is_ignored:
        unknown |= found == 0
    labels = np.where(unknown, ignored(num_classes), found - zero_is_ignored)
    beyond = found[~unknown & ((labels < 0) | (labels >= num_classes))]
    if beyond.size:
        since = ", from label 1 on" if zero_is_ignored else ""
        raise ValueError(f"{path} has label {beyond[0]}, and the network tells {num_classes} classes apart{since}")
    return labels


def label_image(labels: np.ndarray, num_classes: int) -> Image.Image:
    """The label map (H, W) of a network of `num_classes` as a grey image of 8 bits, or of 16 where they need it."""
    return Image.fromarray(labels.astype(label_dtype(num_classes)))


def pairs(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    """Every photo in the folder `images` with the label map of its name in the folder `labels`.

    Raises FileNotFoundError for a folder that does not exist and ValueError for a photo without a
    label map.
    """
    maps: dict[str, Path] = {}
    for suffix in (*PHOTOS[::-1], *LABEL_MAPS[::-1]):  # of several maps of one name the one that is most surely exact
        maps |= {_key(path, labels): path for path in _files(labels) if path.suffix.lower() == suffix}
    if images.resolve() == labels.resolve():
        raise ValueError(f"{images} is given for photos and for label maps, which are told apart by their folders")
    found = []
    for photo in find_photos(images):
        if _key(photo, images) not in maps:
            raise ValueError(f"{photo} has no label map: {labels / _key(photo, images)}.png does not exist")
        found.append((photo, maps[_key(photo, images)]))
    if not found:
        raise ValueError(f"there is no photo in {images}; known are {', '.join(PHOTOS)}")
    return found


def check_pairs(found: list[tuple[Path, Path]]) -> None:
    """Look into the first bytes of each file: ValueError for what is no photo or label map, or not of one size."""
    for photo, label_map in found:
        seen, stored = upright_size(photo)
        with _opened(label_map) as image:
            size = image.size
        if size != seen:
            turned = f", which its EXIF orientation turns from {_by(stored)}" if size == stored else ""
            raise ValueError(f"{label_map} is {_by(size)} and its photo {_by(seen)}{turned}")


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image that has one number a pixel, as it was written; not yet loaded."""
    try:
        with Image.open(path) as image:
            if image.format in _LOSSY or image.info.get("compression") in _LOSSY_TIFF:
                kind = f"{image.format}, which need not keep every label as it is: label maps are PNG or TIFF"
            elif image.mode not in ("L", "P", "I", "I;16", "I;16B", "1"):
                kind = f"{image.mode}, and a label map has one number a pixel"
            elif _raw(image) in _STRETCHED:
                kind = "grey of 2 or 4 bits, which is read as light, spread over 0 to 255: write 8 bits, or a palette"
            else:
                kind = ""
                yield image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is no label map that can be read: {error}") from None
    if kind:
        raise ValueError(f"{path} is no label map: it is {kind}")


def _raw(image: Image.Image) -> str:
    """How Pillow calls the pixels as the file holds them; "" where it does not say."""
    tiles = getattr(image, "tile", [])  # of images from files alone
    how = tiles[0][3] if tiles else ""
    return str(how[0] if isinstance(how, tuple) else how)


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _key(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).with_suffix("").as_posix()
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name
