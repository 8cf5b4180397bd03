"""How good are detections? COCO's average precision, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from resnest.data.annotations import Annotations
from resnest.data.coco import import_pycocotools


class Precision(NamedTuple):
    """Average precision in 0 to 1: over IoU 0.5 to 0.95, at 0.5 and 0.75, and of small, medium and large objects.

    NaN where there are no such objects.
    """

    all: float
    at_50: float
    at_75: float
    small: float
    medium: float
    large: float


def average_precision(annotations: Annotations, rows: Sequence[dict[str, Any]], kind: str) -> Precision:
    """The precision of the result `rows`, of their boxes (`kind` "bbox") or masks ("segm").

    ImportError, saying what to install, without pycocotools.
    """
    import_pycocotools()
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
        truth = COCO()
        # An object with the number 0 counts as none there, and one with another's takes its place.
        judged = [row for row in annotations.content["annotations"] if kind == "bbox" or row.get("segmentation")]
        numbered = [row | {"id": number} for number, row in enumerate(judged, start=1)]
        truth.dataset = annotations.content | {"annotations": numbered}
        truth.createIndex()
        # Given both, it would sort masks into small and large by their boxes; and it writes into the rows.
        other = {"bbox": "segmentation", "segm": "bbox"}[kind]
        alone = [{field: value for field, value in row.items() if field != other} for row in rows]
        found = truth.loadRes(alone) if alone else _nothing(annotations)
        judge = COCOeval(truth, found, kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return Precision(*(float("nan") if figure < 0 else float(figure) for figure in judge.stats[:6]))


def _nothing(annotations: Annotations) -> Any:
    """Results without any detection, which `loadRes` does not take."""
    from pycocotools.coco import COCO

    found = COCO()
    found.dataset = annotations.content | {"annotations": []}
    found.createIndex()
    return found
