"""The tasks that networks are trained for, and what is asked of a task's module here.

Everything in a training that depends on the network's task goes through this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from resnest.backends.training import Trainer
from resnest.jobs.train import classification, detection
from resnest.jobs.train.config import Config
from resnest.jobs.train.source import Source
from resnest.specs.networks import Network


class Task(Protocol):
    """What is asked of `resnest.jobs.train.TASK`."""

    SPEC: type
    JUDGED: tuple[str, ...]
    """The names of what `evaluate` gives."""

    def open_data(self, data: Path) -> Any:
        """What is in the folder `data`: all that `classes_of` and `open_source` need."""

    def classes_of(self, data: Any) -> int | None:
        """How many classes the data have, where they tell."""

    def open_source(self, config: Config, data: Any, backend: str) -> Source:
        """What the training draws its batches from."""

    def start(self, config: Config, weights: Path | None, which: str | None) -> Mapping[str, np.ndarray]:
        """The weights to begin with: those of a file, as far as they fit, and drawn ones."""

    def options(self, config: Config) -> dict[str, Any]:
        """What the network is built with beside its spec."""

    def prepare_step(self, trainer: Trainer, config: Config, step: int, steps_per_epoch: int) -> None:
        """Set what changes from step to step beside the learning rate."""

    def evaluate(self, trainer: Trainer, source: Source, config: Config) -> dict[str, float]:
        """How good the network is on the evaluation images; the first figure decides which weights are the best.

        There is none where no image can be read.
        """


TASKS: tuple[Task, ...] = (classification, detection)  # type: ignore[assignment]  # `SPEC` is a module's, to be read only


def task_of(spec: Network) -> Task:
    """The task of the network `spec`; ValueError for one that nothing here trains."""
    found = next((task for task in TASKS if task.SPEC is type(spec)), None)
    if found is None:
        raise ValueError(f"{spec.name} cannot be trained here: classifiers and detectors can")
    return found
