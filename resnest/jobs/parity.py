"""The same weights and the same image in both backends: how far apart are they?"""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from types import ModuleType

import numpy as np

from resnest import weights as weight_files
from resnest.data.photos import load_image
from resnest.specs.blocks import NORM_MOMENTUM
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import SegmentationSpec
from resnest.weights.names.backbone import MXNET_DIALECTS

DTYPES = ("float32", "float64")

STAGE_BOUND = {"float64": 1e-13, "float32": 2e-6}
"""Largest relative difference of a feature map, of the logits and of the loss."""

GRADIENT_BOUND = {"float64": 1e-11, "float32": None}
"""Float32 gradients are shown and not judged: an activation within rounding of zero passes the
ReLU in one backend and not in the other, and its whole gradient comes or goes with that."""

STATISTICS_BOUND = {"float64": 1e-6, "float32": 1e-5}
"""MXNet keeps the momentum of a batch norm in float32, in any dtype."""

SEGMENTATION_BOUND = {"float64": 1e-12, "float32": 5e-6}
"""The same of a segmentation network's logits, which come out of longer sums."""

Spec = ResNeStSpec | SegmentationSpec

Progress = Callable[[str], None]
"""Is told what is going to be done next."""


@dataclass(frozen=True)
class Difference:
    """How far apart two arrays are: `absolute` is max |a - b|, `relative` that over the size `max |b|`.

    Without a `bound` the difference is shown and not judged.
    """

    name: str
    shape: tuple[int, ...]
    absolute: float
    relative: float
    bound: float | None

    @property
    def within(self) -> bool:
        return self.bound is None or self.relative <= self.bound  # False for NaN, as it should be


def difference(name: str, a: np.ndarray, b: np.ndarray, bound: float | None, scale: float | None = None) -> Difference:
    """The difference of two arrays of one shape, relative to `scale` or else to `max |b|`."""
    if a.shape != b.shape:
        raise ValueError(f"{name} is {a.shape} in one backend and {b.shape} in the other")
    absolute = float(np.max(np.abs(a - b), initial=0.0))
    size = float(np.max(np.abs(b), initial=0.0)) if scale is None else scale
    return Difference(name, b.shape, absolute, absolute / size if size else absolute, bound)


def compare_stages(
    spec: Spec, weights: Mapping[str, np.ndarray], images: np.ndarray, progress: Progress = lambda _: None
) -> list[Difference]:
    """PyTorch against Gluon at the stem, at each stage and at the logits, for (N, C, H, W) images of either dtype."""
    spec.check_size(*images.shape[2:])
    torch, gluon = backends()
    progress("PyTorch")
    ours = torch.run_stages(spec, weights, images)
    progress("MXNet Gluon")
    theirs = gluon.run_stages(spec, weights, images)
    names = ["stem", *(f"layer{stage}" for stage in range(1, len(ours) - 1)), "logits"]
    dtype = images.dtype.name
    bounds = [STAGE_BOUND[dtype]] * (len(names) - 1) + [_logits_bound(spec, dtype)]
    return [difference(*row) for row in zip(names, ours, theirs, bounds, strict=True)]


def _logits_bound(spec: Spec, dtype: str) -> float:
    return (SEGMENTATION_BOUND if isinstance(spec, SegmentationSpec) else STAGE_BOUND)[dtype]


def compare_training(
    spec: Spec, weights: Mapping[str, np.ndarray], images: np.ndarray, progress: Progress = lambda _: None
) -> list[Difference]:
    """PyTorch against Gluon in one training step: the loss, every gradient, every running statistic.

    Segmentation heads drop nothing here: no two frameworks draw the same random numbers.
    A gradient's difference is relative to the largest gradient of its tensor; that of a bias
    before a batch norm, which is zero but for rounding, to the largest of its convolution.
    """
    spec.check_size(*images.shape[2:])
    if isinstance(spec, SegmentationSpec):
        spec = dataclasses.replace(spec, dropout=0.0)
    labels = np.arange(len(images)) % spec.num_classes
    torch, gluon = backends()
    progress("PyTorch, one training step")
    loss, gradients, statistics = torch.run_training_step(spec, weights, images, labels)
    progress("MXNet Gluon, one training step")
    gluon_loss, gluon_gradients, gluon_statistics = gluon.run_training_step(spec, weights, images, labels)
    gluon_statistics = _unbiased(spec, weights, gluon_statistics, images.shape)
    dtype = images.dtype.name
    idle = {f"{layer.name}.bias": f"{layer.name}.weight" for layer in spec.layers() if layer.conv.bias and layer.norm}
    rows = [difference("loss", np.array(loss), np.array(gluon_loss), STAGE_BOUND[dtype])]
    for name, gradient in gluon_gradients.items():
        scale = float(np.abs(gluon_gradients[idle[name]]).max()) if name in idle else None
        rows.append(difference(f"gradient of {name}", gradients[name], gradient, GRADIENT_BOUND[dtype], scale))
    for name, statistic in gluon_statistics.items():
        rows.append(difference(name, statistics[name], statistic, STATISTICS_BOUND[dtype]))
    return rows


def _unbiased(
    spec: Spec, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """MXNet's running statistics as PyTorch keeps them: with the unbiased estimate of the batch's variance."""
    images, _, height, width = shape
    cost = spec.cost(height, width)
    norms = {layer.name: layer.shape for layer in cost.layers if layer.kind == "norm"}
    if isinstance(spec, SegmentationSpec) and spec.auxiliary_head is not None:  # it runs in training only
        layers = spec.auxiliary_head.layers("auxiliary_head")
        norms |= {layer.norm: cost.stages["layer3"] for layer in layers if layer.norm}
    brought = dict(after)
    for norm, (_, *pixels) in norms.items():
        name = f"{norm}.running_var"
        values = images * prod(pixels)  # per channel in this batch
        kept = (1 - NORM_MOMENTUM) * before[name].astype(after[name].dtype)
        brought[name] = kept + (after[name] - kept) * values / (values - 1)
    return brought


def training_batch(image: np.ndarray) -> np.ndarray:
    """A batch of four out of one image (1, C, H, W): itself, its mirrored negative, and both with the colours reversed.

    Inside split attention a batch norm sees one pooled value of each image. Four that are nearly
    equal, as reflections or noise would give, have a variance near zero, and dividing by that
    would enlarge the rounding of both backends instead of comparing them.
    """
    pair = np.concatenate([image, -image[..., ::-1]])
    return np.ascontiguousarray(np.concatenate([pair, pair[:, ::-1]]))


def verify_conversion(
    source: str | os.PathLike, target: str | os.PathLike, *, backbone: bool = False, size: int = 128
) -> Difference:
    """Logits of two files of the same network on a photo, each in the framework whose names it has."""
    image = load_image(None, size)
    logits = []
    for path in (source, target):
        weights = weight_files.load(path, backbone=backbone)
        spec = weight_files.recognise({name: array.shape for name, array in weights.items()})
        framework = "gluon" if weight_files.dialect_of(path) in MXNET_DIALECTS else "torch"
        backend = importlib.import_module(f"resnest.{framework}.backend")
        logits.append(backend.run_stages(spec, weights, np.resize(image, (1, spec.in_channels, size, size)))[-1])
    return difference("logits", logits[1], logits[0], _logits_bound(spec, "float32"))


def backends() -> tuple[ModuleType, ModuleType]:
    """The PyTorch and the Gluon side; ImportError, saying what to install, where one is missing."""
    import resnest.gluon.backend
    import resnest.torch.backend

    return resnest.torch.backend, resnest.gluon.backend
