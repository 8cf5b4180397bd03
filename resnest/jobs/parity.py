"""The same weights and the same image in every backend: how far apart are they?

The first backend that is asked is what the others are compared with.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from resnest import weights as weight_files
from resnest.backends import registry
from resnest.backends.choose import check_which
from resnest.data.photos import load_image
from resnest.specs.detection.network import FOUND, DetectionSpec
from resnest.specs.networks import TASKS, Network
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import SegmentationSpec
from resnest.weights.fold import in_form_of
from resnest.weights.formats.tensors import Tensors
from resnest.weights.seeded import draw_weights

DTYPES = ("float32", "float64")

STAGE_BOUND = {"float64": 1e-13, "float32": 2e-6}
"""Largest relative difference of a feature map, of the logits and of the loss."""

GRADIENT_BOUND = {"float64": 1e-11, "float32": None}
"""Float32 gradients are shown and not judged: an activation within rounding of zero passes the
ReLU in one backend and not in the other, and its whole gradient comes or goes with that."""

STATISTICS_BOUND = {"float64": 1e-6, "float32": 1e-5}
"""MXNet keeps the momentum of a batch norm in float32, in any dtype."""

STAGES = ("stem", "layer1", "layer2", "layer3", "layer4")
PYRAMID = ("p2", "p3", "p4", "p5", "p6")

LONGER_BOUND = {"float64": 1e-12, "float32": 5e-6}
"""The same of what comes out of longer sums: a segmenter's logits, a detector's pyramid."""

FOUND_BOUND = {"float64": 1e-9, "float32": None}
"""The same of what a detector finds: in float32 the order of two scores within rounding of each other may change."""

LAST: dict[type, Mapping[str, Mapping[str, float | None]]] = {
    ResNeStSpec: {"logits": STAGE_BOUND},
    SegmentationSpec: {"logits": LONGER_BOUND},
    DetectionSpec: dict.fromkeys(PYRAMID, LONGER_BOUND) | dict.fromkeys(FOUND, FOUND_BOUND),
}
"""Kind of spec -> what such a network gives behind its stages, and the bound of each."""

Progress = Callable[[str], None]
"""Is told what is going to be done next."""


@dataclass(frozen=True)
class Difference:
    """How far apart two arrays are: `absolute` is max |a - b|, `relative` that over the size `max |b|`.

    `backend` is the title of the one that was compared with the first. Without a `bound` the
    difference is shown and not judged.
    """

    name: str
    shape: tuple[int, ...]
    absolute: float
    relative: float
    bound: float | None
    backend: str = ""

    @property
    def within(self) -> bool:
        return self.bound is None or self.relative <= self.bound  # False for NaN, as it should be


def difference(
    name: str, a: np.ndarray, b: np.ndarray, bound: float | None, scale: float | None = None, backend: str = ""
) -> Difference:
    """The difference of two arrays of one shape, relative to `scale` or else to `max |b|`.

    Of what has no bound the shapes may differ too, and that is infinitely far apart. Otherwise ValueError.
    """
    if a.shape != b.shape and bound is None:
        return Difference(name, b.shape, math.inf, math.inf, bound, backend)
    if a.shape != b.shape:
        raise ValueError(f"{name} is {a.shape} in one backend and {b.shape} in the other")
    apart = a != b if a.dtype == bool else np.abs(a - b)
    absolute = float(np.max(apart, initial=0.0))
    size = float(np.max(np.abs(b), initial=0.0)) if scale is None else scale
    return Difference(name, b.shape, absolute, absolute / size if size else absolute, bound, backend)


def open_network(
    spec: Network, weights: str | os.PathLike | None, deploy: bool | None = None, *, which: str | None = None
) -> tuple[Network, dict[str, np.ndarray]]:
    """The network `spec` with the weights in a file, for as many classes and channels as they have; drawn without one.

    `deploy` says whether it is to be the deploy form; None leaves it in the form that the weights have. `which` chooses
    between the networks in the file, as in `resnest.weights.load`. Raises ValueError for the deploy form of a network
    that has none, for weights that are not the network's, and for `which` without a file.
    """
    check_which(which, weights)
    tensors = draw_weights(spec) if weights is None else weight_files.load(weights, which=which)
    found: Any = weight_files.recognise({tensor: array.shape for tensor, array in tensors.items()})
    spec = spec.fitted(found)
    if deploy is not None:
        spec = spec.in_form(deploy)
    return spec, in_form_of(spec, tensors)


def with_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """The images (N, C, H, W) with another number of `channels`, the ones that there are repeated in turn."""
    return np.ascontiguousarray(images[:, np.arange(channels) % images.shape[1]])


def compare_stages(
    spec: Network,
    weights: Mapping[str, np.ndarray],
    images: np.ndarray,
    progress: Progress = lambda _: None,
    backends: Sequence[str] | None = None,
) -> list[Difference]:
    """The `backends` (all of them) at the stem, each stage and the logits, for (N, C, H, W) images of either dtype."""
    spec.check_size(*images.shape[2:])
    dtype = images.dtype.name
    first: list[np.ndarray] = []
    rows: list[Difference] = []
    for title, backend in _loaded(backends):
        progress(title)
        stages = backend.run_stages(spec, weights, images)
        first = first or stages
        bounds = _stage_bounds(spec, dtype)
        if stages is not first:
            pairs = zip(first, stages, strict=True)  # without masks one fewer than there are bounds
            named = zip(bounds.items(), pairs)
            rows += [difference(name, a, b, bound, backend=title) for (name, bound), (a, b) in named]
    return rows


def _stage_bounds(spec: Network, dtype: str) -> dict[str, float | None]:
    """What of a network is compared, by name, and its largest relative difference."""
    last = {name: bound[dtype] for name, bound in LAST[type(spec)].items()}
    return dict.fromkeys(STAGES, STAGE_BOUND[dtype]) | last


def compare_training(
    spec: Network,
    weights: Mapping[str, np.ndarray],
    images: np.ndarray,
    progress: Progress = lambda _: None,
    backends: Sequence[str] | None = None,
) -> list[Difference]:
    """The `backends` in one training step: the loss, every gradient, every running statistic.

    Nothing is dropped here: no two frameworks draw the same random numbers. A gradient's
    difference is relative to the largest gradient of its tensor; that of a bias before a batch
    norm, which is zero but for rounding, to the largest of its convolution.
    """
    if TASKS[type(spec)].finds:
        raise ValueError(f"{spec.name} is a detector, and those are trained in PyTorch alone: compare what it finds")
    spec.check_size(*images.shape[2:])
    spec = spec.without_dropout()
    labels = np.arange(len(images)) % spec.num_classes
    first: _TrainingStep | None = None
    rows: list[Difference] = []
    for title, backend in _loaded(backends):
        progress(f"{title}, one training step")
        loss, gradients, statistics = backend.run_training_step(spec, weights, images, labels)
        if not backend.UNBIASED:
            statistics = _unbiased(spec, weights, statistics, images.shape)
        step = loss, gradients, statistics
        if first is None:
            first = step
        else:
            rows += [dataclasses.replace(row, backend=title) for row in _compare_steps(spec, first, step)]
    return rows


_TrainingStep = tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]


def _compare_steps(spec: Network, a: _TrainingStep, b: _TrainingStep) -> list[Difference]:
    (loss, gradients, statistics), (other_loss, other_gradients, other_statistics) = a, b
    dtype = next(iter(other_gradients.values())).dtype.name
    idle = {f"{layer.name}.bias": f"{layer.name}.weight" for layer in spec.layers() if layer.conv.bias and layer.norm}
    rows = [difference("loss", np.array(loss), np.array(other_loss), STAGE_BOUND[dtype])]
    for name, gradient in other_gradients.items():
        scale = float(np.abs(other_gradients[idle[name]]).max()) if name in idle else None
        rows.append(difference(f"gradient of {name}", gradients[name], gradient, GRADIENT_BOUND[dtype], scale))
    for name, statistic in other_statistics.items():
        rows.append(difference(name, statistics[name], statistic, STATISTICS_BOUND[dtype]))
    return rows


def _unbiased(
    spec: Network, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], shape: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Running statistics of the biased estimate of a batch's variance, as the unbiased one would have left them."""
    images, _, height, width = shape
    brought = dict(after)
    for norm, pixels in spec.norm_pixels(height, width).items():
        name = f"{norm}.running_var"
        values = images * pixels  # per channel in this batch
        kept = (1 - spec.norm_momentum) * before[name].astype(after[name].dtype)
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
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    backbone: bool = False,
    which: str | None = None,
    dtype: str | None = None,
    size: int = 128,
) -> Difference:
    """Logits of two files of the same network on a photo, each in the framework whose names it has.

    `which` chooses between the networks in the `source`, whose weights are rounded to `dtype` first.
    """
    logits = []
    for path, chosen in ((source, which), (target, None)):
        weights = weight_files.load(path, backbone=backbone, which=chosen)
        if dtype is not None:
            weights = {name: array.astype("float32") for name, array in Tensors.of(weights).cast(dtype).items()}
        spec = weight_files.recognise({name: array.shape for name, array in weights.items()})
        backend = registry.load(registry.speaker_of(weight_files.dialect_of(path, which=chosen)))
        logits.append(backend.run_stages(spec, weights, with_channels(load_image(None, size), spec.in_channels))[-1])
    bound = LAST[type(spec)].get("logits", STAGE_BOUND)["float32"]
    return difference("logits", logits[1], logits[0], bound)


def titles(backends: Sequence[str] | None = None) -> list[str]:
    """What the `backends` are called, the one that the others are compared with first."""
    return [registry.row(name).title for name in backends or registry.BACKENDS]


def _loaded(backends: Sequence[str] | None) -> list[tuple[str, registry.Backend]]:
    """All of them before any is run: ImportError, saying what to install, where one is missing."""
    return [(registry.row(name).title, registry.load(name)) for name in backends or registry.BACKENDS]
