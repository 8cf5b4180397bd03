"""Static INT8 of an ONNX file, with photos to calibrate on, and its error."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resnest.data.photos import PHOTOS, How, load_image
from resnest.jobs.export.files import export
from resnest.jobs.export.onnx_graph import read
from resnest.jobs.export.packages import import_onnx, import_onnxruntime
from resnest.jobs.export.quantizer import METHOD, quantized
from resnest.jobs.parity import Difference
from resnest.specs.protocols import DEFAULT, Preparation, preparation
from resnest.specs.resnest import ResNeStSpec

MOST_NAMED = 8
"""So many of the photos stand in the file's metadata by name."""


@dataclass(frozen=True)
class Int8Error:
    """How far the INT8 file's logits are from the float32 file's, over some photos.

    `relative` is the mean over the photos of `max |a - b| / max |b|`; `same_class` is the
    share of photos on which both say the same class.
    """

    photos: int
    relative: float
    same_class: float


def check(photos: Sequence[Path]) -> None:
    """ValueError without photos and ImportError without onnxruntime, before the work that both are needed for."""
    if not photos:
        raise ValueError(f"INT8 needs photos to calibrate on: give a folder with some ({', '.join(PHOTOS)})")
    import_onnxruntime()


def quantize(path: str | os.PathLike, target: str | os.PathLike, photos: Sequence[Path], how: How) -> Int8Error:
    """Write the float32 ONNX file at `path` as INT8 to `target` and measure the error on the same `photos`.

    How is said in `quantizer`, and in the file's metadata (`int8`, `calibrated_on`). Activations have the
    range that they have on the photos, prepared as `how` says. Raises ValueError without photos.
    """
    check(photos)
    onnx = import_onnx()
    rounded = quantized(onnx.load(path), (load_image(photo, how) for photo in photos))
    known = {entry.key: entry.value for entry in rounded.metadata_props}
    onnx.helper.set_model_props(rounded, known | {"int8": METHOD, "calibrated_on": _said(photos, how)})
    onnx.save(rounded, target)
    return measure(path, target, photos, how)


def _said(photos: Sequence[Path], how: How) -> str:
    names = ", ".join(photo.name for photo in photos[:MOST_NAMED]) + (", ..." if len(photos) > MOST_NAMED else "")
    return f"{len(photos)} photos ({names}): {how if isinstance(how, Preparation) else preparation(DEFAULT, how, '')}"


def export_int8(
    spec: ResNeStSpec, weights: Mapping[str, np.ndarray], path: Path, photos: Sequence[Path], how: How
) -> tuple[list[Difference], Int8Error]:
    """Write the network `spec` with canonical `weights` to `path` as INT8 ONNX, as `quantize` does.

    Gives how far the float32 file that it is made from is from the model, and INT8 from that.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        exact, rounded = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        rows = export(spec, weights, exact, "onnx")
        error = quantize(exact, rounded, photos, how)
        os.replace(rounded, path)
    return rows, error


def measure(path: str | os.PathLike, target: str | os.PathLike, photos: Sequence[Path], how: How) -> Int8Error:
    """The error of the INT8 file `target` against the float32 file at `path`."""
    exact, rounded = read(Path(path)), read(Path(target))
    differences, same = [], []
    for photo in photos:
        image = load_image(photo, how)
        a, b = rounded(image), exact(image)
        differences.append(float(np.abs(a - b).max() / np.abs(b).max()))
        same.append(bool(a.argmax() == b.argmax()))
    return Int8Error(len(photos), float(np.mean(differences)), float(np.mean(same)))
