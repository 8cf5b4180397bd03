"""What training asks of a backend, in NumPy arrays.

`trainer`, `loading` and `processes` in `resnest.NAME.training` answer it. A backend whose row in the registry has no
form that trains has none.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, cast

import numpy as np

from resnest.backends import registry
from resnest.specs.networks import Network
from resnest.specs.update import UpdateRule

DTYPES = ("float32", "float64", "float16", "bfloat16")
"""Of the weights and the arithmetic; with the last two the weights are float32, and PyTorch casts as it sees fit."""

Batch = tuple[Any, Any]
"""Images (N, C, H, W), maybe the framework's own arrays, and what a network of the task is to say of them.

For a classifier that is targets (N, classes), each row adding up to 1.
"""


@dataclass(frozen=True)
class Setup:
    """How a backend is to train: on which `device` ("cpu", "cuda", "cuda:1"), in which of the `DTYPES`, and so on.

    `channels_last` None is what is faster there. `average` is the share of the old that a moving average of the
    weights keeps in each step; `accumulate` the number of batches a step takes. `frozen_norms` have their running
    statistics for a batch's; `sync_norms` share a batch's statistics between processes. `dropout` holds the options
    that the network is built with.
    """

    device: str = "cpu"
    dtype: str = "float32"
    channels_last: bool | None = None
    compiled: bool = False
    accumulate: int = 1
    average: float | None = None
    frozen_norms: tuple[str, ...] = ()
    sync_norms: bool = False
    dropout: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype={self.dtype!r} must be one of {', '.join(DTYPES)}")
        if self.accumulate < 1:
            raise ValueError(f"accumulate={self.accumulate!r} must be at least 1")
        if self.average is not None and not 0 < self.average < 1:
            raise ValueError(f"average={self.average!r} must be above 0 and below 1")


class Trainer(Protocol):
    """A network in training. Where several processes train one, all of them ask it the same in the same order."""

    def step(self, batches: Sequence[Batch], rate: float, key: int) -> Any:
        """One step of the update rule at the learning rate `rate`, over the mean loss of the `batches`.

        Whatever is drawn on the way follows from `key`. Gives the loss, which may still be under way: `value` waits.
        """

    def value(self, loss: Any) -> float:
        """The loss as a number, its mean over the processes."""

    def predict(self, images: Any, averaged: bool = False) -> Any:
        """What the network, or with `averaged` its moving average, says outside of training.

        A classifier gives logits (N, classes).
        """

    def drop_blocks(self, prob: float) -> None:
        """Set the drop probability of every DropBlock, if there are any."""

    def weights(self, averaged: bool = False) -> dict[str, np.ndarray]:
        """A copy of the weights, or of their moving average; running statistics are the mean over the processes."""

    def state(self) -> dict[str, dict[str, np.ndarray]]:
        """All that the next steps depend on, by name: "weights", "velocity", and "average" where there is one."""

    def load_state(self, state: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        """Go on where `state` was taken."""

    def total(self, numbers: np.ndarray) -> np.ndarray:
        """The sum of every process's float64 `numbers`."""

    def memory(self) -> int:
        """Bytes that were in use at most: of the device's memory, on a CPU of the process's."""


class Training(Protocol):
    """What is asked of the module `resnest.NAME.training.trainer`."""

    def check_spec(self, spec: Network) -> None:
        """Raise ValueError, naming it, for a network that this backend cannot train."""

    def check_setup(self, setup: Setup) -> None:
        """Raise ValueError, naming it, for what this backend cannot do."""

    def open_trainer(self, spec: Network, weights: Mapping[str, np.ndarray], rule: UpdateRule, setup: Setup) -> Trainer:
        """The network with these canonical weights, ready for its first step."""


Place = Callable[[Any], Any]
"""Puts an array onto the device, its numbers in the dtype of the training."""


class Task(NamedTuple):
    """A row of `TASKS` in `resnest.NAME.training.tasks`, which says by kind of spec how such networks are trained.

    `loss` is of a network (or of what wraps it), images and what they are to be; `predict` of a network and images.
    Both are handed the images as a `Batch` has them, and a `Place`.
    """

    loss: Callable[[Any, Any, Any, Place], Any]
    predict: Callable[[Any, Any, Place], Any]


Make = Callable[[Any, Callable[[tuple[int, ...], Any], np.ndarray]], Any]
"""From a key, and from what gives memory for arrays as NumPy's `empty` does, to what there is for the key.

Large arrays are to be made in that memory: another process gets them without a copy.
"""


class Loading(Protocol):
    """What is asked of the module `resnest.NAME.training.loading`."""

    def load(self, make: Make, keys: Iterable[Any], workers: int, device: str = "cpu") -> Iterator[Any]:
        """What is made of each of the `keys`, in their order, made ahead by `workers` of its DataLoader."""


class Joining(Protocol):
    """What is asked of the module `resnest.NAME.training.processes`."""

    def environments(self, number: int, port: int) -> list[dict[str, str]]:
        """The variables of each process to be started on this machine, so that `number` of them train together.

        Those that train come first; `RANK` says which of them one is. What the others do is the framework's own.
        """


def trainers() -> list[str]:
    """The backends that train, the one that the others are compared with first."""
    return [name for name, row in registry.BACKENDS.items() if row.trained]


def load(name: str) -> Training:
    """How the backend called `name` trains; ValueError where it does not, ImportError without its framework."""
    return cast(Training, _module(name, "trainer"))


def loading(name: str) -> Loading:
    """How the backend called `name` reads ahead; raises as `load` does."""
    return cast(Loading, _module(name, "loading"))


def joining(name: str) -> Joining:
    """How processes of the backend called `name` find each other; raises as `load` does."""
    return cast(Joining, _module(name, "processes"))


def _module(name: str, part: str) -> Any:
    row = registry.row(name)
    if not row.trained:
        raise ValueError(f"{row.title} does not train; {' and '.join(trainers())} do")
    return importlib.import_module(f"{row.package}.training.{part}")


def process_memory() -> int:
    """Bytes that this process has had in use at most; 0 where the system does not tell."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def smoothed(labels: np.ndarray, classes: int, smoothing: float = 0.0, dtype: Any = np.float32) -> np.ndarray:
    """Targets (N, classes) of labels (N,): 1 - smoothing more than the `smoothing / classes` of every other class."""
    targets = np.full((len(labels), classes), smoothing / classes, dtype)
    targets[np.arange(len(labels)), labels] = 1 - smoothing + smoothing / classes
    return targets


def with_mean_statistics(
    weights: dict[str, np.ndarray], total: Callable[[np.ndarray], np.ndarray], processes: int
) -> dict[str, np.ndarray]:
    """The weights, with every running statistic replaced by its mean over the processes."""
    if processes == 1:
        return weights
    names = [name for name in weights if ".running_" in name]
    means = total(np.concatenate([weights[name].ravel().astype(np.float64) for name in names])) / processes
    ends = np.cumsum([weights[name].size for name in names])[:-1]
    parts = {name: part.astype(weights[name].dtype) for name, part in zip(names, np.split(means, ends), strict=True)}
    return {**weights, **parts}
