"""The weights that a builder's `pretrained` and `weights` ask for."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping

import numpy as np

from resnest.specs.resnest import ResNeStSpec
from resnest.weights import load
from resnest.weights.adapt import adapt
from resnest.weights.recognition.tasks import BACKBONE, task_in


def choose(
    spec: ResNeStSpec,
    pretrained: bool | str,
    weights: Mapping[str, np.ndarray] | str | os.PathLike | None,
    root: str | os.PathLike | None,
    asked: Collection[str],
    headless: bool = False,
    which: str | None = None,
) -> dict[str, np.ndarray] | None:
    """Canonical weights for `spec`, or None where they are to be drawn.

    `asked` holds the fields of the spec that the caller set, and `headless` says that the network
    will have no classifier. `which` chooses in a weight file, as in `resnest.weights.load`. Raises TypeError for both
    `pretrained` and `weights`, and ValueError for `which` without a file.
    """
    if pretrained and weights is not None:
        raise TypeError(f"{spec.name} takes pretrained={pretrained!r} or weights, not both")
    check_which(which, weights)
    if pretrained:
        from resnest.weights.published.pretrained import download  # what it needs is only needed here

        weights = download(spec.name, None if pretrained is True else pretrained, root=root)
    if weights is None:
        return None
    if headless:
        spec = dataclasses.replace(spec, num_classes=0)
    if not isinstance(weights, Mapping):
        arrays = load(weights, backbone=headless, which=which)
        # Of a checkpoint of another task a classifier takes the backbone.
        weights = arrays if task_in(arrays) is BACKBONE else load(weights, backbone=True, which=which)
    return adapt(weights, spec, asked)


def arrays_of(
    weights: Mapping[str, np.ndarray] | str | os.PathLike | None, which: str | None = None
) -> Mapping[str, np.ndarray] | None:
    """The canonical `weights` as they are, or those of a weight file, `which` of them as in `resnest.weights.load`.

    Raises ValueError for `which` without a file.
    """
    check_which(which, weights)
    return weights if weights is None or isinstance(weights, Mapping) else load(weights, which=which)


def check_which(which: str | None, weights: object) -> None:
    """Raise ValueError where `which` is to choose, and there is no weight file to choose in."""
    if which is not None and (weights is None or isinstance(weights, Mapping)):
        raise ValueError(f"which={which!r} chooses within a weight file: give its path as weights")
