"""Annotation files of COCO's form: where they are, what of them can be worked with."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnest.data.coco import decompressed
from resnest.data.photos import upright_size

logger = logging.getLogger(__name__)

FARTHEST = 100_000
"""Pixels from a photo's corner to the farthest point of a polygon, which is drawn step by step out there too."""


def _is_name(value: Any) -> bool:
    return isinstance(value, (int, str))


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and {*map(type, value)} <= {int, float} and bool(np.isfinite(value).all())


def _is_mask(value: Any) -> bool:
    """Polygons, run lengths, or nothing."""
    if isinstance(value, dict):
        sides, counts = value.get("size"), value.get("counts")
        if not isinstance(sides, list) or len(sides) != 2 or not all(map(_is_side, sides)):
            return False
        if isinstance(counts, str):
            counts = decompressed(counts)
        if not isinstance(counts, list) or {*map(type, counts)} != {int} or min(counts) < 0:
            return False
        return sum(counts) == sides[0] * sides[1]
    return not value or (isinstance(value, list) and all(map(_is_polygon, value)))


def _is_polygon(value: Any) -> bool:
    return value == [] or (_are_numbers(value) and max(map(abs, value)) <= FARTHEST)


def _is_outline(polygon: Sequence[float]) -> bool:
    """Whether a polygon (x y x y ...) has three points, and no half one."""
    return len(polygon) >= 6 and len(polygon) % 2 == 0


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "id": _is_name,
    "categories.id": lambda value: isinstance(value, int),
    "image_id": _is_name,
    "category_id": _is_name,
    "file_name": lambda value: isinstance(value, str),
    "height": _is_side,
    "width": _is_side,
    "bbox": lambda value: _are_numbers(value) and len(value) == 4,
    "segmentation": _is_mask,
    "area": lambda value: _are_numbers([value]),
    "iscrowd": lambda value: value in (0, 1),
}
"""What of the values of a field, everywhere or of one part, can be worked with."""


@dataclass(frozen=True)
class Annotations:
    """The content of an annotation file: `content` is as it is there, `path` says where."""

    path: Path
    content: dict[str, Any]

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The numbers of the classes, ascending: the order in which networks count them."""
        return tuple(sorted(category["id"] for category in self.content["categories"]))

    @property
    def class_names(self) -> list[str]:
        """What the classes are called, in that order."""
        names = {category["id"]: category["name"] for category in self.content["categories"]}
        return [str(names[number]) for number in self.category_ids]

    def check_masks(self) -> None:
        """Raise ValueError, naming it, for an object without a mask or with one of another size than its photo's.

        And for a photo without a size. As mmdetection does it, polygons of fewer than three points are dropped, and an
        object that none is left of is ignored. A warning counts both.
        """
        frames = {}
        for image in self.content["images"]:
            if not {"height", "width"} <= image.keys():
                raise ValueError(f"{self.path}: photo {image['id']} has no height and width, which masks are drawn in")
            frames[image["id"]] = [image["height"], image["width"]]
        dropped = ignored = 0
        for row in self.content["annotations"]:
            mask = row.get("segmentation")
            if not mask and not row.get("ignore"):
                raise ValueError(
                    f"{self.path}: object {row['id']} has no segmentation, and the network's masks are to be judged"
                    " by it"
                )
            frame = frames.get(row["image_id"])
            if isinstance(mask, dict) and frame is not None and mask["size"] != frame:
                raise ValueError(
                    f"{self.path}: object {row['id']} has a mask of {'x'.join(map(str, mask['size']))} in a photo of"
                    f" {'x'.join(map(str, frame))}"
                )
            if not isinstance(mask, list) or all(map(_is_outline, mask)):
                continue
            row["segmentation"] = [polygon for polygon in mask if _is_outline(polygon)]
            dropped += len(mask) - len(row["segmentation"])
            if not row["segmentation"]:
                row["ignore"] = 1
                ignored += 1
        if dropped:
            logger.warning(
                "%s: %d polygons are left out, which have fewer than three points or half a one, and the masks of %d"
                " objects with them",
                *(self.path, dropped, ignored),
            )

    def photos(self, folder: Path) -> list[tuple[int, Path]]:
        """Number and path of every image; FileNotFoundError, naming it, for one that is not in the `folder`."""
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder} with photos")
        photos = [(image["id"], folder / image["file_name"]) for image in self.content["images"]]
        missing = [path for _, path in photos if not path.is_file()]
        if missing:
            raise FileNotFoundError(
                f"{self.path} names {len(missing)} photos that do not exist, the first {missing[0]}"
            )
        return photos

    def check_frames(self, folder: Path) -> None:
        """Raise ValueError for a photo in the `folder` that has another size than the file says: masks would not meet.

        And the errors of `photos` and of `resnest.data.photos.upright_size`.
        """
        for image, (number, path) in zip(self.content["images"], self.photos(folder)):
            (width, height), _ = upright_size(path)
            if (height, width) != (image["height"], image["width"]):
                raise ValueError(
                    f"{self.path}: photo {number} is said to be {image['width']} wide and {image['height']} high, and"
                    f" {path} is {width} and {height}"
                )


FOLDERS = ("{split}", "{split}2017")
FILES = ("annotations/instances_{folder}.json", "annotations/{folder}.json", "{folder}/_annotations.coco.json")
"""Where photos and their annotation file are looked for within a folder: COCO's own places, and what tools write."""


def find_split(root: Path, split: str) -> tuple[Path, Path]:
    """The folder of photos and the annotation file of the part called `split` ("train", "val") of the data in `root`.

    Raises FileNotFoundError, saying where it looked, for what is not there.
    """
    folders = [name.format(split=split) for name in FOLDERS]
    folder = next((name for name in folders if (root / name).is_dir()), None)
    if folder is None:
        raise FileNotFoundError(f"{root} holds no folder {' or '.join(folders)} with photos")
    files = [root / name.format(folder=folder) for name in FILES]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        looked = ", ".join(str(file.relative_to(root)) for file in files)
        raise FileNotFoundError(f"{root} holds no annotations of the photos in {folder}: looked for {looked}")
    return root / folder, found


def read_annotations(path: Path, num_classes: int | None = None) -> Annotations:
    """The annotation file at `path`, for a network that tells `num_classes` apart, or for a network to come.

    Raises FileNotFoundError, and ValueError for a file that is no such, for one without photos, or of
    another number of classes.
    """
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no annotation file {path}") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no annotation file: {error}") from None
    parts = ("images", "annotations", "categories")
    lacking = [part for part in parts if not isinstance(content, dict) or not isinstance(content.get(part), list)]
    if lacking:
        raise ValueError(f"{path} is no annotation file of COCO's form: it has no list of {' and '.join(lacking)}")
    for part, fields in zip(parts, (("id", "file_name"), ("id", "image_id", "category_id", "bbox"), ("id", "name"))):
        for number, row in enumerate(content[part]):
            if not isinstance(row, dict) or not all(field in row for field in fields):
                raise ValueError(f"{path}: number {number} of its {part} has not all of {', '.join(fields)}")
            for field, value in row.items():
                known = _FIELDS.get(f"{part}.{field}", _FIELDS.get(field))
                if known is not None and not known(value):
                    raise ValueError(f"{path}: {field} of number {number} of its {part} is {str(value)[:40]!r}")
    if not content["images"]:
        raise ValueError(f"{path} names no photo")
    if not content["categories"]:
        raise ValueError(f"{path} names no class")
    for part, of in (("images", "photos"), ("categories", "classes")):
        counted = Counter(row["id"] for row in content[part])
        twice = next((number for number in counted if counted[number] > 1), None)
        if twice is not None:
            raise ValueError(f"{path}: two of its {of} have the id {twice}")
    if len({type(image["id"]) for image in content["images"]}) > 1:
        raise ValueError(f"{path}: some ids of its photos are numbers and some are words: give all one or the other")
    if num_classes is not None and len(content["categories"]) != num_classes:
        raise ValueError(
            f"{path} has {len(content['categories'])} classes, and the network tells {num_classes} apart: the two must"
            " be of one data set"
        )
    for row in content["annotations"]:  # what hand-made files leave out and the scores are computed with
        row.setdefault("iscrowd", 0)
        row.setdefault("area", row["bbox"][2] * row["bbox"][3])
    return Annotations(path, content)
