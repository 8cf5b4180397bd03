"""How far what a file predicts is from the model, and who writes the file, for networks of each task.

Everything in an export that depends on the network's task goes through this table.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from resnest.backends import registry
from resnest.jobs.parity import PYRAMID, STAGES, Difference, difference
from resnest.specs.detection.network import FOUND, DetectionSpec
from resnest.specs.networks import TASKS as KINDS
from resnest.specs.networks import Network
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import SegmentationSpec

LOGITS_BOUND: dict[str | None, float] = {None: 1e-5, "float16": 0.01, "bfloat16": 0.1}
"""dtype that a file computes in, None as it is built -> largest relative difference of its logits from the model's.

In the narrow ones there are some two hundred roundings, one behind the other.
"""

FOUND_BOUND: dict[str | None, float] = {None: 1e-4}
"""The same of the boxes and scores that a detector finds, which computes in no other dtype."""


def compare_logits(
    spec: Network,
    weights: Mapping[str, np.ndarray],
    predict: Callable[..., Any],
    size: tuple[int, int] | None,
    bound: float,
) -> list[Difference]:
    """How far the logits that `predict` gives are from the model's."""
    model = registry.installed().predictor(spec, weights)
    return [
        difference(f"logits{of}", predict(images), model(images), bound) for of, images in _batches(spec, (1, 3), size)
    ]


def compare_boxes(
    spec: DetectionSpec,
    weights: Mapping[str, np.ndarray],
    predict: Callable[..., Any],
    size: tuple[int, int] | None,
    bound: float,
) -> list[Difference]:
    """How far what `predict` finds in an image, given its size too, is from what the model finds."""
    backend = registry.installed()
    without_end = dataclasses.replace(spec, max_detections=sys.maxsize)
    rows = []
    for of, image in _batches(spec, (1, 1), size):
        found = dict(zip(FOUND, predict(image, np.array([image.shape[2:]]))))
        expected = dict(zip(FOUND, backend.run_stages(without_end, weights, image)[len(STAGES + PYRAMID) :]))
        rows += compare_found(expected, found, spec.max_detections, bound, of)
    return rows


def _batches(spec: Network, numbers: Sequence[int], size: tuple[int, int] | None) -> Iterator[tuple[str, np.ndarray]]:
    """Two batches of so many images, of different sizes where none is said, and what to call them."""
    side = spec.minimum_size + 63  # a detector's coarsest map has two pixels then
    rng = np.random.default_rng(0)
    for number, sides in zip(numbers, ((side, side), (side + 33, side + 6))):
        shape = number, spec.in_channels, *(size or sides)
        yield " of " + "x".join(map(str, shape)), rng.normal(size=shape).astype(np.float32)


def compare_found(
    model: Mapping[str, np.ndarray], file: Mapping[str, np.ndarray], most: int, bound: float, of: str = ""
) -> list[Difference]:
    """How far the boxes and scores that a file finds, `most` at most, are from the nearest of their class of the model.

    The model tells all that it finds: which of equal scores comes first, or is the last one kept, rounding decides.
    Another number of them is infinitely far away.
    """
    if len(file["labels"]) != min(len(model["labels"]), most) or not {*file["labels"]} <= {*model["labels"]}:
        return [Difference(f"{part}{of}", model[part].shape, math.inf, math.inf, bound) for part in FOUND[:2]]
    apart = np.abs(file["boxes"][:, None] - model["boxes"]).max(axis=2)  # (file's, model's)
    apart += np.where(file["labels"][:, None] == model["labels"], 0, np.inf)
    nearest = apart.argmin(axis=1) if len(apart) else np.zeros(0, np.int64)
    return [difference(f"{part}{of}", file[part], model[part][nearest], bound) for part in FOUND[:2]]


class Task(NamedTuple):
    """How the networks of a task are exported.

    `compare` runs a file beside the model on two batches, which differ in number and size where they may; `bounds`
    says how far apart they may be, for each dtype that a file may compute in. `onnx` is the backend that writes ONNX
    of such networks; None where our own graphs do.
    """

    compare: Callable[..., list[Difference]]
    bounds: Mapping[str | None, float]
    onnx: str | None = None


TASKS: dict[type, Task] = {
    ResNeStSpec: Task(compare_logits, LOGITS_BOUND),
    SegmentationSpec: Task(compare_logits, LOGITS_BOUND, "torch"),
    DetectionSpec: Task(compare_boxes, FOUND_BOUND, "torch"),
}
"""Kind of spec -> how such networks are exported."""


def check_dtype(spec: Network, dtype: str) -> None:
    """Raise ValueError for a dtype that no file computes in, or none of such a network."""
    known = [name for name in LOGITS_BOUND if name is not None]
    if dtype not in known:
        raise ValueError(f"files compute in float32, or with dtype in {' or '.join(known)}, not in {dtype!r}")
    if dtype not in TASKS[type(spec)].bounds:
        title = KINDS[type(spec)].title
        raise ValueError(f"{spec.name} is a {title}, whose files compute in float32 alone: leave dtype {dtype} out")
