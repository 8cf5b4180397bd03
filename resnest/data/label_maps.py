"""Label maps: reading one, and finding those of a folder of photos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from resnest.data.classes import IGNORED
from resnest.data.photos import PHOTOS, find_photos

# Cityscapes calls the two files of one photo by different endings.
_ENDINGS = ("_leftImg8bit", "_gtFine_labelTrainIds")


def read_labels(path: Path, num_classes: int, zero_is_ignored: bool) -> np.ndarray:
    """The label map (H, W) at `path`; `zero_is_ignored` counts classes from 1 and takes 0 for no class.

    Raises ValueError for an image that is no label map or has labels beyond `num_classes`.
    """
    try:
        image = Image.open(path)
        image.load()
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} is no label map that can be read: {error}") from None
    with image:
        if image.mode not in ("L", "P", "I", "I;16", "1"):
            raise ValueError(f"{path} is no label map: it is {image.mode}, and a label map has one number a pixel")
        labels = np.asarray(image).astype(np.int64)
    if zero_is_ignored:
        labels = np.where((labels == 0) | (labels == IGNORED), IGNORED, labels - 1)
    beyond = labels[(labels >= num_classes) & (labels != IGNORED)]
    if beyond.size:
        raise ValueError(f"{path} has label {beyond[0]}, and the network tells {num_classes} classes apart")
    return labels


def pairs(images: Path, labels: Path) -> list[tuple[Path, Path]]:
    """Every photo in the folder `images` with the label map of its name in the folder `labels`.

    Raises FileNotFoundError for a folder that does not exist and ValueError for a photo without a
    label map.
    """
    maps = {_key(path, labels): path for path in _files(labels) if path.suffix.lower() == ".png"}
    found = []
    for photo in find_photos(images):
        if _key(photo, images) not in maps:
            raise ValueError(f"{photo} has no label map: {labels / _key(photo, images)}.png does not exist")
        found.append((photo, maps[_key(photo, images)]))
    if not found:
        raise ValueError(f"there is no photo in {images}; known are {', '.join(PHOTOS)}")
    return found


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _key(path: Path, folder: Path) -> str:
    name = path.relative_to(folder).with_suffix("").as_posix()
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name
