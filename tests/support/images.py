"""Folders of small photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def photo_folder(root: Path, train: int = 12, val: int = 4, classes: int = 3, side: int = 40) -> Path:
    """`root/train` and `root/val` with so many photos, dealt out to folders of classes that differ in colour."""
    random = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for number in range(count):
            label = number % classes
            pixels = random.integers(0, 120, (side, side - 8, 3), np.uint8)
            pixels[..., label % 3] += 100
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return root
