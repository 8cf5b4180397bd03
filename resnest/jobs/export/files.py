"""A network with its weights as a file that runs without this package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from resnest.backends import registry
from resnest.backends.registry import Predict
from resnest.jobs.export import onnx_graph
from resnest.jobs.parity import Difference, difference
from resnest.specs.resnest import ResNeStSpec
from resnest.weights.fold import in_form_of

BOUND = 1e-5
"""Largest relative difference of float32 logits between a file and the model it was made from."""

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


def export(
    spec: ResNeStSpec, weights: Mapping[str, np.ndarray], path: str | os.PathLike, format: str
) -> list[Difference]:
    """Write the network `spec` with canonical `weights` to `path`; say how far its logits are from the model's.

    Weights are folded on the way where `spec` is a deploy form. In every format the batch, height
    and width stay open, which the check uses: it runs two batches of different sizes. A
    `mxnet` file keeps its tensors beside it, in `...-0000.params`. Raises ValueError for weights
    that are not the spec's own, ImportError for a format whose framework is missing.
    """
    path, *_ = written(Path(path), format)
    backend = _FORMATS[format][1]
    writer = onnx_graph if backend is None else registry.exporter(backend)
    writer.write(spec, in_form_of(spec, weights), path, format)
    return compare(spec, weights, writer.read(path, format))


def compare(spec: ResNeStSpec, weights: Mapping[str, np.ndarray], predict: Predict) -> list[Difference]:
    """Logits of `predict` against those of the model, on two batches that differ in number and size."""
    model = source(spec, weights)
    side = spec.minimum_size + 31
    rng = np.random.default_rng(0)
    rows = []
    for shape in ((1, spec.in_channels, side, side), (3, spec.in_channels, side + 33, side + 6)):
        images = rng.normal(size=shape).astype(np.float32)
        rows.append(difference(f"logits of {'x'.join(map(str, shape))}", predict(images), model(images), BOUND))
    return rows


def source(spec: ResNeStSpec, weights: Mapping[str, np.ndarray]) -> Predict:
    """The model itself, in the first backend that is installed."""
    weights = in_form_of(spec, weights)
    backend = registry.installed()
    return lambda images: backend.run_stages(spec, weights, images)[-1]
