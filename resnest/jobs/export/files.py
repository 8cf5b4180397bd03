"""A network with its weights as a file that runs without this package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resnest.backends import registry
from resnest.backends.registry import Exporter
from resnest.jobs.export import onnx_graph
from resnest.jobs.export.tasks import TASKS, check_dtype
from resnest.jobs.parity import Difference
from resnest.weights.fold import in_form_of

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
    """Raise ValueError for a network that no file of this format holds, or not in `dtype`, and for a wrong `size`.

    ImportError where what writes the format is not installed.
    """
    if dtype is not None:
        check_dtype(spec, dtype)
    if size is not None:
        spec.check_size(*size)
    _exporter(format).check(spec, format, size, dtype)


def _exporter(format: str) -> Exporter:
    backend = _FORMATS[format][1]
    if backend is None:
        return onnx_graph
    return registry.exporter(backend)


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
    task, exporter = TASKS[type(spec)], _exporter(format)
    weights = in_form_of(spec, weights)
    writer = registry.exporter(task.onnx) if task.onnx is not None and exporter is onnx_graph else exporter
    writer.write(spec, weights, path, format, size, dtype)
    return task.compare(spec, weights, exporter.read(path, format), size, task.bounds[dtype])
