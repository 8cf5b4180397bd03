"""The backends by name: what each is called, what it takes to have it, and what is asked of it.

A backend is a folder `resnest/NAME` and a row here. Whatever is done with networks asks for it by
name, so nothing above knows how many there are.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from resnest.specs.arguments import closest
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.networks import Network
from resnest.specs.resnest import ResNeStSpec

Predict = Callable[[np.ndarray], np.ndarray]
"""From images (N, C, H, W) to logits: (N, classes), or (N, classes, H, W) of a segmentation network.

The logits are the caller's from then on, who may write over them.
"""

Detect = Callable[[Sequence[Any]], list[dict[str, np.ndarray]]]
"""From photos, PIL images or arrays (H, W, 3), to what is found in each: `boxes` (n, 4), x1 y1 x2 y2 in its pixels,
`scores` (n,), `labels` (n,) from 0, and of some networks `masks` (n, H, W)."""

Step = Callable[[], Any]
"""One prediction or training step of a network and images that are ready, waited for until its result is there."""


class Backend(Protocol):
    """What is asked of the module `resnest.NAME.backend`.

    `UNBIASED` says whether the framework keeps running variances with the unbiased estimate of a
    batch's variance.
    """

    UNBIASED: bool

    def run_stages(self, spec: Network, weights: Mapping[str, np.ndarray], images: np.ndarray) -> list[np.ndarray]:
        """`[stem, stage 1, .. stage 4, logits]` of (N, C, H, W) images, in the images' dtype.

        Of a detector the pyramid's maps, boxes, scores and labels stand in the logits' place.
        """

    def run_attention(
        self, spec: ResNeStSpec, weights: Mapping[str, np.ndarray], images: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of the split attention in each block its splits and their scores, (N, R * C, H, W) and (N, R * C, 1, 1).

        The scores are those before the softmax, group by group, or the sigmoid where R is 1.
        """

    def run_training_step(
        self, spec: Network, weights: Mapping[str, np.ndarray], images: np.ndarray, labels: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Mean cross entropy, its gradient by tensor, and the updated running statistics, of one training step."""

    def device_of(self, name: str) -> Any:
        """The framework's own device for "cpu", "cuda:0", ...; ValueError where this machine has none that computes."""

    def predictor(self, spec: Network, weights: Mapping[str, np.ndarray], device: str = "cpu") -> Predict:
        """A function from images to logits, a segmenter's at their size, on `device` ("cpu", "cuda:0", ...)."""

    def detector(self, spec: DetectionSpec, weights: Mapping[str, np.ndarray], device: str = "cpu") -> Detect:
        """A function from photos to what is found in them, computed on `device`."""

    def bench_step(self, spec: Network, form: str, images: np.ndarray, *, threads: int, train: bool) -> Step:
        """A step of a freshly drawn network, in one of the row's `forms`."""


class Exporter(Protocol):
    """What is asked of the module `resnest.NAME.export`, for each of the row's `formats`."""

    def write(
        self,
        spec: Any,
        weights: Mapping[str, np.ndarray],
        path: Path,
        format: str,
        size: tuple[int, int] | None = None,
        dtype: str | None = None,
    ) -> None:
        """Write the network as a file for images of `size` (height, width); without it these are left open.

        So is the batch, but of a detector, which takes one image. It computes in `dtype`, and takes and gives float32
        all the same. Raises ValueError for what the format cannot hold.
        """

    def check(self, spec: Any, format: str, size: tuple[int, int] | None = None, dtype: str | None = None) -> None:
        """Raise ValueError for a network that the format cannot hold, in this `dtype`, before there are weights."""

    def read(self, path: Path, format: str) -> Callable[..., Any]:
        """What the file at `path` makes of its inputs, arrays: an array, or where there are several a list of them."""


@dataclass(frozen=True)
class Row:
    """A backend as sentences, tables and options need it, without its framework.

    `title` is the framework's name, `framework` that of the package it comes in, and `extra` what `pip install
    'resnest[...]'` takes; `package` is where `backend` and `export` are. `dialects` are the weight files' names that
    are this framework's own and `formats` the file formats that it writes, with each one's suffix. `resnest bench`
    times a network in the `forms` ("" is as it is built; a last word can say a precision; those in `compiled` take
    minutes first, those in `trained` train) beside the framework's other libraries, its `peers`.
    """

    title: str
    framework: str
    extra: str
    package: str
    dialects: tuple[str, ...] = ()
    formats: Mapping[str, str] = field(default_factory=dict)
    forms: tuple[str, ...] = ("",)
    compiled: tuple[str, ...] = ()
    trained: tuple[str, ...] = ("",)
    peers: tuple[str, ...] = ()


BACKENDS: dict[str, Row] = {
    "torch": Row(
        "PyTorch",
        "torch",
        "torch",
        "resnest.torch",
        formats={"torchscript": ".pt", "pt2": ".pt2"},
        forms=(
            *("convolutions", "", "nchw", "deploy", "deploy nchw", "optimized"),
            *("deploy bfloat16", "optimized bfloat16"),
        ),
        compiled=("optimized", "optimized bfloat16"),
        trained=("", "nchw"),
        peers=("timm",),
    ),
    "gluon": Row(
        "MXNet Gluon",
        "mxnet",
        "gluon",
        "resnest.gluon",
        dialects=("gluon", "symbol", "gluoncv_symbol"),
        formats={"mxnet": "-symbol.json"},
        forms=("", "deploy", "optimized", "optimized bfloat16"),
        peers=("gluoncv",),
    ),
}
"""Every backend, the one that the others are compared with first."""

FIRST = next(iter(BACKENDS))
"""The backend that is taken where nobody asks for one."""


def row(name: str) -> Row:
    """What there is to say of the backend called `name`; ValueError where there is none."""
    if name not in BACKENDS:
        raise ValueError(f"there is no backend {name!r}; {closest(name, BACKENDS)}")
    return BACKENDS[name]


def load(name: str) -> Backend:
    """The backend called `name`; ImportError, saying what to install, where its framework is missing."""
    return cast(Backend, importlib.import_module(f"{row(name).package}.backend"))


def exporter(name: str) -> Exporter:
    """The writer of the backend's file formats; ImportError as in `load`."""
    return cast(Exporter, importlib.import_module(f"{row(name).package}.export"))


def installed() -> Backend:
    """The first backend whose framework can be imported; ImportError of the last one where none can."""
    *others, last = BACKENDS
    for name in others:
        try:
            return load(name)
        except ImportError:
            continue
    return load(last)


def speaker_of(dialect: str) -> str:
    """The backend whose framework's own names `dialect` has; the first one for what is no framework's."""
    return next((name for name, row in BACKENDS.items() if dialect in row.dialects), FIRST)
