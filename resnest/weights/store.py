"""Weights without any framework: a dict of NumPy arrays under canonical names, and every file that holds one."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import numpy as np

from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import SegmentationSpec
from resnest.weights.formats import files
from resnest.weights.formats.tensors import Tensors
from resnest.weights.names import segmentation as segmentation_names
from resnest.weights.names.backbone import NOT_WEIGHTS, detect_dialect, get_dialect
from resnest.weights.recognition.backbone import Shapes, check
from resnest.weights.recognition.backbone import recognise as recognise_backbone
from resnest.weights.recognition.segmentation import CLASSIFIER, recognise_segmentation

__all__ = ["check", "convert", "dialect_of", "load", "recognise", "save"]

Path = str | os.PathLike

Spec = ResNeStSpec | SegmentationSpec

_BACKBONE = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")

logger = logging.getLogger(__name__)


def load(source: Path | bytes, *, backbone: bool = False) -> dict[str, np.ndarray]:
    """The weights in the file `source`: canonical name -> array, in checkpoint order.

    The suffix tells the format (`.safetensors`, `.npz`, `.pth`, `.params`, `.zip` around
    `.params`) and the names tell the dialect and the network; `bytes` are the content of a
    `.params` or `.zip` file. A segmentation network comes whole, under mmsegmentation's
    names, where `resnest.specs.segmentation.network` has its head; what another segmenter or a detector keeps
    beside its backbone, behind another prefix, is left out with a warning. `backbone` leaves out
    everything that is not the backbone's, the classifier too. Raises ValueError for a file that is
    broken, in no known dialect, or not all of a ResNeSt.
    """
    with files.open_file(source) as opened:
        names, _ = _understand(files.describe(source), opened, backbone)
        return {canonical: opened[name] for canonical, name in names.items()}


def recognise(shapes: Shapes) -> Spec:
    """The spec of the network, with or without a segmentation head, whose canonical tensors have these shapes."""
    return recognise_segmentation(shapes) if CLASSIFIER in shapes else recognise_backbone(shapes)


def save(weights: Mapping[str, np.ndarray], path: Path, *, dialect: str | None = None) -> None:
    """Write canonical `weights` to `path`.

    Without a `dialect`, `.params` gets Gluon's names and every other format the canonical ones.
    Raises ValueError for tensors that are not all of a ResNeSt.
    """
    shapes = {name: array.shape for name, array in weights.items()}
    spec = recognise(shapes)
    check(shapes, spec.tensors(), spec.name)
    files.write_file(path, _spoken(path, weights, spec, dialect))


def convert(source: Path, target: Path, *, dialect: str | None = None, backbone: bool = False) -> Spec:
    """Rewrite the weight file `source` as `target`, one tensor at a time, and give the network's spec.

    Formats, names and `backbone` go as in `load` and `save`; values and dtypes stay as they are.
    """
    files.writable_suffix(target)
    with files.open_file(source) as opened:
        names, spec = _understand(files.describe(source), opened, backbone)
        files.write_file(target, _spoken(target, opened.renamed(names), spec, dialect))
    return spec


def dialect_of(path: Path) -> str:
    """The name of the dialect that the file at `path` is in."""
    with files.open_file(path) as source:
        try:
            return (segmentation_names.detect_dialect(source) or detect_dialect(source)).name
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def _understand(what: str, source: Tensors, backbone: bool) -> tuple[dict[str, str], Spec]:
    """Canonical name -> name in the file `what`, for a file that holds all of a network, and the network."""
    try:
        segmentation = None if backbone else segmentation_names.detect_dialect(source)
        canonical = (segmentation or detect_dialect(source)).to_canonical(source)
        if backbone:
            canonical = {theirs: ours for theirs, ours in canonical.items() if ours.startswith(_BACKBONE)}
        shapes = {canonical[name]: shape for name, shape in source.shapes.items() if name in canonical}
        spec = recognise_segmentation(shapes, segmentation) if segmentation else recognise_backbone(shapes)
        check(shapes, spec.tensors(), spec.name)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    left_out = [name for name in source if name not in canonical and not name.endswith(NOT_WEIGHTS)]
    if left_out and not backbone:
        parts = dict.fromkeys(name.partition(".")[0] for name in left_out)
        logger.warning("%s: left out %d tensors that are no ResNeSt's, of %s", what, len(left_out), ", ".join(parts))
    names = {ours: theirs for theirs, ours in canonical.items()}
    return {name: names[name] for name in spec.tensors()}, spec


def _spoken(path: Path, weights: Mapping[str, np.ndarray], spec: Spec, dialect: str | None) -> Tensors:
    """`weights` in checkpoint order under the names that belong into the file at `path`."""
    if dialect is None and files.writable_suffix(path) == ".params":
        dialect = "gluon"
    if isinstance(spec, SegmentationSpec):
        dialect = dialect or "mmsegmentation"
        names = segmentation_names.get_dialect(dialect, spec.head).from_canonical(spec.tensors())
    else:
        names = get_dialect(dialect or "torch").from_canonical(spec)
    return Tensors.of(weights).renamed({theirs: ours for ours, theirs in names.items()})
