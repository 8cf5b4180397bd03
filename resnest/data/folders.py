"""Folders of images, one folder a class, as everybody keeps them: `train/tabby/1.jpg`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from resnest.data.photos import PHOTOS, open_photo
from resnest.specs.arguments import closest

IMAGES = (*PHOTOS, ".bmp", ".pgm", ".ppm", ".tif", ".tiff")
"""What the name of an image ends with, in small letters or capitals."""


class ImageFolder:
    """The images below `root`, whose folders are classes: in the order of their names, images too.

    `classes` are those of another folder, the one that was trained on; then a label is the number that the class has
    there, and classes without a folder are allowed. Hidden files and folders are none. Raises
    FileNotFoundError without a folder, and ValueError for one without classes, for a class without an image and
    for a class that `classes` lacks.
    """

    def __init__(self, root: str | os.PathLike, classes: Sequence[str] | None = None):
        self.root = Path(root)
        if not self.root.is_dir():
            raise FileNotFoundError(f"there is no folder {self.root} with images")
        found = sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir() and entry.name[0] != ".")
        if not found:
            raise ValueError(
                f"{self.root} holds no folders: images are expected in one folder a class, as"
                " `resnest prepare-imagenet` makes them of ImageNet's archives"
            )
        self.classes = found if classes is None else list(classes)
        labels = {name: label for label, name in enumerate(self.classes)}
        self.names: list[str] = []
        """Where each image is, below `root`."""
        self.labels: list[int] = []
        for name in found:
            if name not in labels:
                raise ValueError(f"{self.root / name} is a class that was not trained on; {closest(name, labels)}")
            images = sorted(_images(self.root / name, name))
            if not images:
                raise ValueError(
                    f"the class folder {self.root / name} holds no image: remove it, or put images into it;"
                    f" known are {', '.join(IMAGES)}"
                )
            self.names += images
            self.labels += [labels[name]] * len(images)

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """What to call the image in a message."""
        return str(self.root / self.names[index])

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        """The image in RGB, as it is stored, and its label; ValueError that names it where it cannot be read."""
        try:
            return open_photo(self.root / self.names[index], upright=False), self.labels[index]
        except FileNotFoundError as error:  # it was there when the folder was listed
            raise ValueError(str(error)) from None


def _images(folder: Path, prefix: str) -> Iterator[str]:
    for entry in os.scandir(folder):
        if entry.name[0] == ".":
            continue
        if entry.is_dir():
            yield from _images(folder / entry.name, f"{prefix}/{entry.name}")
        elif entry.name.lower().endswith(IMAGES):
            yield f"{prefix}/{entry.name}"
