"""COCO's files: which number each class has there, annotations, and rows of results."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnest.data.boxes import with_sides

logger = logging.getLogger(__name__)

_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}

CATEGORY_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED)
"""COCO's number of each of its 80 classes, in the order in which networks count them from 0; ten numbers are unused."""


def category_ids(dataset: str, num_classes: int) -> tuple[int, ...]:
    """The number that each label of a network gets in a results file: COCO's, or of other classes 1, 2, ..."""
    return CATEGORY_IDS if (dataset, num_classes) == ("coco", len(CATEGORY_IDS)) else tuple(range(1, num_classes + 1))


def image_id(name: str) -> int | str:
    """The number of an image called like COCO's (`000000000139.jpg`); the name without its suffix for any other."""
    stem = Path(name).stem
    return int(stem) if stem.isdecimal() else stem


def result_rows(image: int | str, found: Mapping[str, np.ndarray], ids: Sequence[int]) -> list[dict[str, Any]]:
    """What was `found` in an image as rows of COCO's result format; `ids` are the numbers of the labels.

    Masks are run-length encoded by pycocotools: ImportError, saying what to install, without it.
    """
    rows: list[dict[str, Any]] = [
        {"image_id": image, "category_id": int(ids[label]), "bbox": box, "score": score}
        for label, box, score in zip(
            found["labels"].tolist(), with_sides(found["boxes"]).tolist(), found["scores"].tolist()
        )
    ]
    for row, mask in zip(rows, found.get("masks", ())):
        row["segmentation"] = run_lengths(mask)
    return rows


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """A mask (H, W) as COCO's compressed run lengths, its text readable by JSON."""
    encoded = import_pycocotools().encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode()}


def crop_polygons(polygons: Sequence[Sequence[float]], box: Sequence[float], size: int) -> np.ndarray:
    """An object's polygons (x y x y ...), cut out by a box and stretched: (size, size), true in one of them.

    As mmdetection makes the targets of masks: drawn after they were stretched, by pycocotools.
    """
    x1, y1, x2, y2 = box
    origin = np.array([x1, y1])
    factor = size / np.array([max(x2 - x1, 1), max(y2 - y1, 1)])
    stretched = [((np.reshape(points, (-1, 2)) - origin) * factor).ravel().tolist() for points in polygons]
    tool = import_pycocotools()
    return tool.decode(tool.merge(tool.frPyObjects(stretched, size, size))).astype(bool)


def import_pycocotools() -> Any:
    """`pycocotools.mask`; ImportError, saying what to install, without it."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError(
            f"COCO's masks and scores need pycocotools ({error}): pip install 'resnest[detection]'"
        ) from None
    return mask


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
        whole = isinstance(counts, list) and _are_numbers(counts) and sum(counts) == sides[0] * sides[1]
        return whole or isinstance(counts, str)
    return not value or (isinstance(value, list) and all(_are_numbers(polygon) or polygon == [] for polygon in value))


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
        """Raise ValueError, naming it, for an object without a mask, and for a photo without a size to draw it in.

        As mmdetection does it, polygons of fewer than three points are dropped, and an object that none is left of
        is ignored. A warning counts both.
        """
        for image in self.content["images"]:
            if not {"height", "width"} <= image.keys():
                raise ValueError(f"{self.path}: photo {image['id']} has no height and width, which masks are drawn in")
        dropped = ignored = 0
        for row in self.content["annotations"]:
            mask = row.get("segmentation")
            if not mask and not row.get("ignore"):
                raise ValueError(
                    f"{self.path}: object {row['id']} has no segmentation, and the network's masks are to be judged"
                    " by it"
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
        content = json.loads(path.read_text())
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
    counted = Counter(image["id"] for image in content["images"])
    twice = next((number for number in counted if counted[number] > 1), None)
    if twice is not None:
        raise ValueError(f"{path}: two of its photos have the id {twice}")
    if num_classes is not None and len(content["categories"]) != num_classes:
        raise ValueError(
            f"{path} has {len(content['categories'])} classes, and the network tells {num_classes} apart: the two must"
            " be of one data set"
        )
    for row in content["annotations"]:  # what hand-made files leave out and the scores are computed with
        row.setdefault("iscrowd", 0)
        row.setdefault("area", row["bbox"][2] * row["bbox"][3])
    return Annotations(path, content)
