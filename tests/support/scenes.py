"""A small data set in COCO's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

IDS = (3, 7)
"""The classes' numbers: red rectangles and green ones."""


def coco_folder(root: Path, train: int = 5, val: int = 2, objects: int = 2) -> Path:
    """`root/train2017`, `root/val2017` and their annotations: rectangles on noise, in wide photos and high ones."""
    for split, count in (("train2017", train), ("val2017", val)):
        (root / split).mkdir(parents=True)
        random = np.random.default_rng(count)
        images: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        for number in range(count):
            height, width = (64, 96) if number % 3 else (80, 60)
            pixels = random.integers(90, 130, (height, width, 3), np.uint8)
            for _ in range(objects):
                x, y = (int(random.integers(2, side // 2)) for side in (width, height))
                w, h = (int(random.integers(16, side // 2 - 2)) for side in (width, height))
                label = int(random.integers(2))
                pixels[y : y + h, x : x + w] = 20
                pixels[y : y + h, x : x + w, label] = 250
                rows.append(
                    {
                        "id": len(rows) + 1,
                        "image_id": number + 10,
                        "category_id": IDS[label],
                        "bbox": [x, y, w, h],
                        "area": w * h,
                        "iscrowd": 0,
                        "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                    }
                )
            name = f"{number + 10:012d}.png"
            Image.fromarray(pixels).save(root / split / name)
            images.append({"id": number + 10, "file_name": name, "height": height, "width": width})
        categories = [{"id": number, "name": name} for number, name in zip(IDS, ("red", "green"))]
        write_annotations(root, split, {"images": images, "annotations": rows, "categories": categories})
    return root


def annotation_file(root: Path, split: str = "train2017") -> Path:
    return root / "annotations" / f"instances_{split}.json"


def write_annotations(root: Path, split: str, content: dict[str, Any]) -> None:
    path = annotation_file(root, split)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def change_annotations(root: Path, change: Any, split: str = "train2017") -> None:
    """Let `change` work on the content of an annotation file."""
    content = json.loads(annotation_file(root, split).read_text())
    change(content)
    write_annotations(root, split, content)
