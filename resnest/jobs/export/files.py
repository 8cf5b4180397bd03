"""A network with its weights as a file that runs without this package."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnest.backends import registry
from resnest.jobs.export import onnx_graph
from resnest.jobs.parity import FOUND, Difference, difference
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import SegmentationSpec
from resnest.weights.fold import in_form_of

BOUND = 1e-5
"""Largest relative difference of float32 logits between a file and the model it was made from."""

FOUND_BOUND = 1e-4
"""The same of the boxes and scores that a detector finds."""

ROUNDED_BOUND = {"float16": 0.01, "bfloat16": 0.1}
"""The same of a file that computes in another dtype: some two hundred roundings, one behind the other."""

# Format -> suffix, and the backend that writes it; ONNX is written without any.
_FORMATS: dict[str, tuple[str, str | None]] = {"onnx": (".onnx", None)} | {
    format: (suffix, name) for name, row in registry.BACKENDS.items() for format, suffix in row.formats.items()
}
FORMATS = tuple(_FORMATS)


def suffix(format: str) -> str:
    """What the name of a file in this format ends with; ValueError for a format nobody writes."""
    if format not in _FORMATS:
        raise ValueError(f"there is no export format {format!r}; known are {', '.join(FORMATS)}")
    return _FORMATS[format][0]


def written(path: Path, format: str) -> list[Path]:
    """The files that `export` writes; ValueError for a name that does not end as those of the format do."""
    end = suffix(format)
    if not path.name.endswith(end):
        raise ValueError(f"{path} does not end with {end}, as a file of format {format} does")
    return [path, *([path.with_name(path.name.removesuffix(end) + "-0000.params")] if format == "mxnet" else [])]


def check(spec: Any, format: str, size: tuple[int, int] | None = None, dtype: str | None = None) -> None:
    """Raise ValueError for a network that no file of this format holds, or not in `dtype`, and for a wrong `size`."""
    if dtype is not None:
        _check_dtype(spec, format, dtype)
    if size is not None:
        spec.check_size(*size)
    backend = _FORMATS[format][1]
    if backend is not None:
        registry.exporter(backend).check(spec, format, size, dtype)


def _check_dtype(spec: Any, format: str, dtype: str) -> None:
    if dtype not in ROUNDED_BOUND:
        raise ValueError(f"files compute in float32, or with dtype in {' or '.join(ROUNDED_BOUND)}, not in {dtype!r}")
    if isinstance(spec, DetectionSpec):
        raise ValueError(f"{spec.name} is a detector, whose boxes need float32: leave dtype {dtype} out")
    if dtype == "bfloat16" and format == "onnx":
        raise ValueError("onnxruntime computes nothing in bfloat16 on a processor: take float16, or torchscript or pt2")


def export(
    spec: Any,
    weights: Mapping[str, np.ndarray],
    path: str | os.PathLike,
    format: str,
    size: tuple[int, int] | None = None,
    dtype: str | None = None,
) -> list[Difference]:
    """Write the network `spec` with canonical `weights` to `path`; say how far what it predicts is from the model's.

    Weights are folded on the way where `spec` is a deploy form. The height and width stay open, or are `size`, and so
    does the batch, but of a detector, which takes one image and its own size (1, 2) without padding. The check uses
    that: it runs two batches of different sizes. A segmenter's logits are of the images' size. A
    `mxnet` file keeps its tensors beside it, in `...-0000.params`. With a `dtype` ("float16", "bfloat16") the file
    computes in that, takes and gives float32, and is compared with the model in float32. Raises ValueError for weights
    that are not the spec's own and for a network that the format cannot hold, ImportError for a format whose
    framework is missing.
    """
    path, *_ = written(Path(path), format)
    check(spec, format, size, dtype)
    backend = _FORMATS[format][1]
    weights = in_form_of(spec, weights)
    if backend is not None:
        registry.exporter(backend).write(spec, weights, path, format, size, dtype)
    elif isinstance(spec, ResNeStSpec):
        onnx_graph.write(spec, weights, path, format, size, dtype)
    else:  # PyTorch writes ONNX of what our own graphs leave out
        onnx_graph.import_onnx()
        registry.exporter("torch").write(spec, weights, path, format, size, dtype)
    reader = onnx_graph if backend is None else registry.exporter(backend)
    bound = BOUND if dtype is None else ROUNDED_BOUND[dtype]
    return compare(spec, weights, reader.read(path, format), size, bound)


def compare(
    spec: Any,
    weights: Mapping[str, np.ndarray],
    predict: Callable[..., Any],
    size: tuple[int, int] | None = None,
    bound: float = BOUND,
) -> list[Difference]:
    """What `predict` says against what the model does, on two batches that differ in number and size where they may.

    `bound` is how far logits may be off.
    """
    model = source(spec, weights)
    body = spec if isinstance(spec, ResNeStSpec) else spec.backbone
    side = body.minimum_size + 63  # a detector's coarsest map has two pixels then
    rng = np.random.default_rng(0)
    rows = []
    for number, sides in ((1, (side, side)), (3, (side + 33, side + 6))):
        shape = 1 if isinstance(spec, DetectionSpec) else number, spec.in_channels, *(size or sides)
        images = rng.normal(size=shape).astype(np.float32)
        of = " of " + "x".join(map(str, shape))
        if isinstance(spec, DetectionSpec):
            found = predict(images, np.array([shape[2:]]))
            expected = dict(zip(FOUND, model(images)[-3:]))
            rows += compare_found(expected, dict(zip(FOUND, found)), spec.max_detections, of)
        else:
            rows.append(difference(f"logits{of}", predict(images), model(images), bound))
    return rows


def compare_found(
    model: Mapping[str, np.ndarray], file: Mapping[str, np.ndarray], most: int, of: str = ""
) -> list[Difference]:
    """How far the boxes and scores that a file finds, `most` at most, are from the nearest of their class of the model.

    The model tells all that it finds: which of equal scores comes first, or is the last one kept, rounding decides.
    Another number of them is infinitely far away.
    """
    if len(file["labels"]) != min(len(model["labels"]), most) or not {*file["labels"]} <= {*model["labels"]}:
        return [Difference(f"{part}{of}", model[part].shape, math.inf, math.inf, FOUND_BOUND) for part in FOUND[:2]]
    apart = np.abs(file["boxes"][:, None] - model["boxes"]).max(axis=2)  # (file's, model's)
    apart += np.where(file["labels"][:, None] == model["labels"], 0, np.inf)
    nearest = apart.argmin(axis=1) if len(apart) else np.zeros(0, np.int64)
    return [difference(f"{part}{of}", file[part], model[part][nearest], FOUND_BOUND) for part in FOUND[:2]]


def source(spec: Any, weights: Mapping[str, np.ndarray]) -> Callable[..., Any]:
    """The model itself, in the first backend that is installed."""
    weights = in_form_of(spec, weights)
    backend = registry.installed()
    if isinstance(spec, SegmentationSpec):
        return backend.predictor(spec, weights)
    if isinstance(spec, DetectionSpec):
        without_end = dataclasses.replace(spec, max_detections=sys.maxsize)
        return lambda images: backend.run_stages(without_end, weights, images)
    return lambda images: backend.run_stages(spec, weights, images)[-1]
