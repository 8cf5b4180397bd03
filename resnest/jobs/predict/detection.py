"""From a photo to the objects in it, by a network of any backend."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from PIL import Image

from resnest.backends import registry
from resnest.backends.registry import Detect
from resnest.jobs.predict.checkpoint import open_checkpoint
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.detection.published import get_detection_spec

Found = dict[str, np.ndarray]
"""What is found in a photo: `boxes` (n, 4), `scores` (n,), `labels` (n,), and of some networks `masks` (n, H, W)."""


@dataclass(frozen=True)
class Finder:
    """A detector with weights."""

    spec: DetectionSpec
    detect: Detect

    def find(self, photo: Image.Image) -> Found:
        """The objects in a photo, in its own pixels, best first."""
        (found,) = self.detect([photo])
        return found


def open_finder(
    weights: str | os.PathLike,
    *,
    model: str | None = None,
    which: str | None = None,
    backend: str = registry.FIRST,
    device: str = "cpu",
) -> Finder:
    """The detector of a checkpoint: the published one called `model`, or without it what the tensors are recognised as.

    `which` chooses between the networks in the file, as in `resnest.weights.load`. Raises ValueError, naming the file,
    for weights that are no detector's or not the model's.
    """
    published = get_detection_spec(model) if model else None
    spec, arrays = open_checkpoint(DetectionSpec, weights, published, which)
    return Finder(spec, registry.load(backend).detector(spec, arrays, device))


def above(found: Found, score: float) -> Found:
    """What scores at least `score`."""
    kept = found["scores"] >= score
    return {name: array[kept] for name, array in found.items()}
