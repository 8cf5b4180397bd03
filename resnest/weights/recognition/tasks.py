"""The tasks that weights are known of, and what is asked of a task's module here.

Everything that depends on the task of a network goes through this table.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from typing import Any, Protocol

import numpy as np

from resnest.specs.networks import Network
from resnest.weights.formats.tensors import plain
from resnest.weights.names.dialect import Dialect
from resnest.weights.recognition import backbone, detection, segmentation
from resnest.weights.recognition.check import Shapes


class Names(Protocol):
    """What is asked of `resnest.weights.names.TASK`."""

    CANONICAL: str

    def get_dialect(self, name: str, spec: Any) -> Dialect:
        """How the dialect called `name` names the network `spec`; ValueError for one that does not exist."""

    def detect_dialect(self, names: Collection[str]) -> Dialect | None:
        """The dialect that `names` are written in, where they are of this task."""


class Task(Protocol):
    """What is asked of `resnest.weights.recognition.TASK`."""

    SPEC: type
    names: Names

    def holds(self, names: Container[str]) -> bool:
        """Whether these canonical names are of this task."""

    def recognise(self, shapes: Shapes, dialect: Dialect | None = None) -> Any:
        """The spec of the network whose canonical tensors have these shapes."""

    def fit(self, weights: Mapping[str, np.ndarray], spec: Any, built: Shapes) -> dict[str, np.ndarray]:
        """The weights that a network of this spec is to be loaded with."""

    def adapt(self, weights: Mapping[str, np.ndarray], spec: Any, asked: Collection[str]) -> Mapping[str, np.ndarray]:
        """The weights with the input channels and classes of the spec, where these are `asked` for and can be."""


TASKS: tuple[Task, ...] = (detection, segmentation, backbone)  # type: ignore[assignment]  # `names` is a module, to be read only
"""Every task, in the order in which files are asked for them; a backbone may be in a file of any other."""

BACKBONE: Task = TASKS[-1]


def task_of(spec: Network) -> Task:
    """The task of the network `spec`."""
    return next(task for task in TASKS if task.SPEC is type(spec))


def task_in(names: Container[str]) -> Task:
    """The task that canonical tensors of these names are of."""
    return next(task for task in TASKS if task.holds(names))


def recognise(shapes: Shapes) -> Any:
    """The spec of the network, of whatever task, whose canonical tensors have these shapes.

    Raises ValueError for tensors that are no ResNeSt's.
    """
    return task_in(shapes).recognise(shapes)


def fit(weights: Mapping[str, np.ndarray], spec: Network, built: Shapes) -> dict[str, np.ndarray]:
    """The canonical `weights` that a network of this `spec`, whose tensors have the shapes `built`, is loaded with.

    Raises ValueError, listing them, for tensors that are unknown, missing or misshaped, and for
    weights of another task. What comes out is in the machine's byte order, and bfloat16 is float32.
    """
    return {name: plain(array) for name, array in task_of(spec).fit(weights, spec, built).items()}


def own_names(spec: Network, dialect: str, built: Collection[str]) -> dict[str, str]:
    """Canonical name -> name in `dialect`, for those of the network's tensors that are `built`.

    What is built beside them, because the network was changed, keeps its name.
    """
    names = task_of(spec).names.get_dialect(dialect, spec).from_canonical(spec)
    known = {ours: theirs for ours, theirs in names.items() if theirs in built}
    return known | {name: name for name in built if name not in known.values()}
