"""How right a detector is about the photos that an annotation file is of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from resnest.data.annotations import Annotations
from resnest.data.coco import import_pycocotools, result_rows
from resnest.data.photos import open_photo
from resnest.jobs.predict.detection import Finder
from resnest.jobs.processes import gathered, joined, process, processes
from resnest.jobs.verify.average_precision import Precision, average_precision

Photo = tuple[int, Path]

Track = Callable[[list[Photo]], Iterable[Photo]]
"""Gives the photos on, and may show how many of them are done."""

KINDS = {"bbox": "boxes", "segm": "masks"}
"""What precision there is of, in COCO's words and in ours."""


def verify(
    finder: Finder, annotations: Annotations, images: Path, *, track: Track = lambda photos: photos
) -> tuple[dict[str, Precision], list[dict[str, Any]]]:
    """The precision of boxes, and of masks where the network has them, and the rows it was computed from.

    Under torchrun the photos are dealt out to its processes. Raises FileNotFoundError for a photo that is not in the
    folder `images`, and ValueError for what is no photo or, where there are masks, for one of another size than it is
    said to have.
    """
    import_pycocotools()  # before hours of work
    if finder.spec.has_masks:
        annotations.check_masks()
        annotations.check_frames(images)
    photos = annotations.photos(images)
    rows = []
    with joined():
        for number, path in track(photos[process() :: processes()]):
            rows += result_rows(number, finder.find(open_photo(path)), annotations.category_ids)
        rows = gathered(rows)
        scores = judge(annotations, rows, finder.spec.has_masks) if process() == 0 else {}
    return scores, rows


def judge(annotations: Annotations, rows: list[dict[str, Any]], masks: bool) -> dict[str, Precision]:
    """The precision of the boxes in result `rows`, and of their `masks`, by the words in `KINDS`."""
    return {kind: average_precision(annotations, rows, kind) for kind in KINDS if kind == "bbox" or masks}
