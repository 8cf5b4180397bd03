"""Which photos are meant by files and folders, and what the names of those that are made of them end with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resnest.data.photos import PHOTOS, find_photos, upright_size

DETECTIONS, OVERLAY, LABELS, ATTENTION = ".detections.png", ".overlay.png", ".labels.png", ".attention.png"

MADE = (DETECTIONS, OVERLAY, LABELS, ATTENTION)
"""What the names of pictures that are made of photos end with: in a folder they are no photos to look into."""


def photos_in(paths: Sequence[Path]) -> list[Path]:
    """The photos among `paths` and in those that are folders, where what was made of photos last time is left out.

    Raises FileNotFoundError for a path that does not exist and ValueError where there is no photo. A photo that is
    alone is looked into: of several the others can still be used, where a folder has a link that leads nowhere too.
    """
    photos = [photo for path in paths for photo in (_unmade(path) if path.is_dir() else [path])]
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise FileNotFoundError(f"there is no photo {missing[0]}")
    if not photos:
        raise ValueError(f"there is no photo in {', '.join(map(str, paths))}; known are {', '.join(PHOTOS)}")
    if len(photos) == 1:
        upright_size(photos[0])
    return photos


def _unmade(folder: Path) -> list[Path]:
    return [photo for photo in find_photos(folder) if not photo.name.endswith(MADE)]
