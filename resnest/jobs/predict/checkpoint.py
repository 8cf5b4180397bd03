"""A checkpoint of a network of one task: its spec, and its weights as they fit."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from resnest.weights import load
from resnest.weights.recognition.tasks import TASKS
from resnest.weights.saved import spec_beside


def open_checkpoint(
    kind: type, weights: str | os.PathLike, spec: Any = None, which: str | None = None
) -> tuple[Any, dict[str, np.ndarray]]:
    """The network with this `kind` of spec in a weight file: `spec`, or without it what the tensors are recognised as.

    A spec that stands beside the file goes before both. `which` chooses between the networks in the file, as in
    `resnest.weights.load`. Raises ValueError, naming the file, for weights that are of another task or not the spec's.
    """
    task = next(task for task in TASKS if task.SPEC is kind)
    saved = spec_beside(weights, spec.name if spec else None)
    spec = saved if type(saved) is kind else spec
    arrays = load(weights, which=which)
    try:
        spec = spec or task.recognise({name: array.shape for name, array in arrays.items()})
        return spec, task.fit(arrays, spec, spec.tensors())
    except ValueError as error:
        raise ValueError(f"{weights}: {error}") from None
