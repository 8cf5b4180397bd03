"""Weights without any framework: a dict of NumPy arrays under canonical names, and every file that holds one."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import numpy as np

from resnest.specs.networks import Network
from resnest.weights.formats import files
from resnest.weights.formats.tensors import Tensors, listed, printable
from resnest.weights.names.dialect import NOT_WEIGHTS, Dialect, unwrap
from resnest.weights.recognition.check import check, check_real
from resnest.weights.recognition.tasks import BACKBONE, TASKS, Task, recognise, task_of

__all__ = ["check", "convert", "dialect_of", "load", "recognise", "save"]

Path = str | os.PathLike

_BACKBONE = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")

logger = logging.getLogger(__name__)


def load(source: Path | bytes, *, backbone: bool = False, which: str | None = None) -> dict[str, np.ndarray]:
    """The weights in the file `source`: canonical name -> array, in checkpoint order.

    The suffix tells the format (`.safetensors`, `.npz`, `.pth` and what else PyTorch's files are called, `.params`,
    `.zip` around `.params`, `.json` for an index of shards) and the names tell the dialect and the network; `bytes`
    are the content of a `.params` or `.zip` file. bfloat16 becomes float32. A segmentation network comes whole, under
    mmsegmentation's names, where `resnest.specs.segmentation.network` has its head; what another segmenter or a
    detector keeps beside its backbone, behind another prefix, is left out with a warning. `backbone` leaves out
    everything that is not the backbone's, the classifier too.

    Of a trainer's checkpoint the running average of the weights is taken where there is one, and a warning says so.
    `which` chooses: "ema" the average, "model" the weights themselves, anything else a key in the checkpoint or what
    stands before the names. Raises ValueError for a file that is broken, in no known dialect, or not all of a ResNeSt.
    """
    with files.open_file(source, which) as opened:
        read, _ = _understand(files.describe(source), opened, backbone)
        return dict(read.plain())


def save(weights: Mapping[str, np.ndarray], path: Path, *, dialect: str | None = None) -> None:
    """Write canonical `weights` to `path`.

    Without a `dialect`, `.params` gets Gluon's names and every other format the canonical ones. bfloat16 is written as
    float32, in every format, and numbers in the machine's own byte order.
    Raises ValueError for tensors that are not all of a ResNeSt.
    """
    shapes = Tensors.of(weights).shapes
    spec = recognise(shapes)
    check(shapes, spec.tensors(), spec.name)
    files.write_file(path, _spoken(path, weights, spec, dialect))


def convert(
    source: Path,
    target: Path,
    *,
    dialect: str | None = None,
    backbone: bool = False,
    which: str | None = None,
    dtype: str | None = None,
) -> Network:
    """Rewrite the weight file `source` as `target`, one tensor at a time, and give the network's spec.

    Formats, names, `backbone` and `which` go as in `load` and `save`; values and dtypes stay as they are, or real
    numbers are rounded to `dtype` ("float16", "bfloat16", "float32", "float64"). Raises ValueError for one too large
    for it. MXNet reads `.params` of bfloat16, and NumPy with ml_dtypes `.npz` of it.
    """
    files.writable_suffix(target)
    with files.open_file(source, which) as opened:
        read, spec = _understand(files.describe(source), opened, backbone)
        read = read if dtype is None else read.cast(dtype)
        files.write_file(target, _spoken(target, read, spec, dialect), dtype)
    return spec


def dialect_of(path: Path, *, which: str | None = None) -> str:
    """The name of the dialect that the file at `path` is in, or `which` of its networks, as `load` chooses."""
    with files.open_file(path, which) as source:
        try:
            return detect(source.renamed(unwrap(source)))[1].name
        except ValueError as error:
            raise ValueError(f"{path}: {printable(str(error))}") from None


def detect(source: Tensors) -> tuple[Task, Dialect]:
    """The first task that these tensors are of, and the dialect that they are in; ValueError where there is none."""
    for task in TASKS:
        dialect = task.names.detect_dialect(source)
        if dialect is not None:
            return task, dialect
    raise AssertionError("the last task's dialects raise where they do not know the names")


def _understand(what: str, source: Tensors, backbone: bool) -> tuple[Tensors, Network]:
    """The canonical tensors in the file `what`, which is to hold all of a network, and the network."""
    source = source.renamed(unwrap(source))
    try:
        task, dialect = (BACKBONE, BACKBONE.names.detect_dialect(source)) if backbone else detect(source)
        assert dialect is not None  # the backbone's raise where they do not know the names
        canonical = dialect.to_canonical(source)
        if backbone:
            canonical = {theirs: ours for theirs, ours in canonical.items() if ours.startswith(_BACKBONE)}
        shapes = {
            canonical[name]: dialect.canonical_shape(shape)
            for name, shape in source.shapes.items()
            if name in canonical
        }
        spec = task.recognise(shapes, dialect)
        check(shapes, spec.tensors(), spec.name)
        check_real((name, source.headers[name].dtype) for name in canonical)
    except ValueError as error:
        raise ValueError(f"{what}: {printable(str(error))}") from None
    left_out = [name for name in source if name not in canonical and not name.endswith(NOT_WEIGHTS)]
    if left_out and not backbone:
        parts = dict.fromkeys(name.partition(".")[0] for name in left_out)
        logger.warning("%s: left out %d tensors that are no ResNeSt's, of %s", what, len(left_out), listed(parts))
    names = {ours: theirs for theirs, ours in canonical.items()}
    return source.renamed({name: names[name] for name in spec.tensors()}).turned(dialect.turned_back), spec


def _spoken(path: Path, weights: Mapping[str, np.ndarray], spec: Network, name: str | None) -> Tensors:
    """`weights` in checkpoint order, under the names and with the axes that belong into the file at `path`."""
    if name is None and files.writable_suffix(path) == ".params":
        name = "gluon"
    names = task_of(spec).names
    dialect = names.get_dialect(name or names.CANONICAL, spec)
    theirs = {theirs: ours for ours, theirs in dialect.from_canonical(spec).items()}
    return Tensors.of(weights).renamed(theirs).turned(dialect.turned)
