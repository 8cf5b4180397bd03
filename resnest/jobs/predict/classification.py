"""From a photo to the classes that a network sees in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resnest.backends import registry
from resnest.backends.registry import Predict
from resnest.data.imagenet import imagenet_names
from resnest.data.photos import load_image
from resnest.specs.protocols import Preparation, preparation
from resnest.specs.published import get_spec
from resnest.specs.resnest import ResNeStSpec
from resnest.weights import load, recognise
from resnest.weights.fold import in_form_of
from resnest.weights.published.pretrained import protocol_of
from resnest.weights.saved import classes_beside, spec_beside


class Guess(NamedTuple):
    """A class that may be in a photo: its number, from 0, its name, and its probability."""

    number: int
    name: str
    probability: float


@dataclass(frozen=True)
class Classifier:
    """A network with weights, how it wants photos prepared, and what its classes are called."""

    spec: ResNeStSpec
    predict: Predict
    preparation: Preparation
    classes: Sequence[str]

    def guess(self, photo: str | os.PathLike, top: int = 5) -> list[Guess]:
        """The `top` most probable classes in the photo at that path, best first; equal ones in order.

        Raises FileNotFoundError, and ValueError for a file that is no photo and for a network that answers with what
        is no number.
        """
        (logits,) = self.predict(load_image(photo, self.preparation))
        if not np.isfinite(logits).all():
            raise ValueError(f"{photo}: {self.spec.name} answers with what is no number: its weights are broken")
        powers = np.exp(logits - logits.max())
        shares = powers / powers.sum()
        best = np.argsort(-shares, kind="stable")[:top].tolist()
        return [Guess(number, self.classes[number], float(shares[number])) for number in best]


def open_classifier(
    weights: str | os.PathLike,
    *,
    model: str | None = None,
    which: str | None = None,
    backend: str = registry.FIRST,
    device: str = "cpu",
    protocol: str | None = None,
    size: int | None = None,
    classes: Sequence[str] | None = None,
) -> Classifier:
    """The classifier in a weight file: the published network called `model`, or without it what the tensors say.

    Photos are prepared by `protocol`, without it by that of published weights, at `size` pixels, without it the
    published one. `classes` are the classes' names; without them those in `classes.txt` beside the file,
    ImageNet's for a network of 1000, else numbers. `which` chooses between the networks in the file, as in
    `resnest.weights.load`. Raises ValueError, naming the file, for weights that are no classifier's or not the model's,
    and for another number of names than classes.
    """
    arrays = load(weights, which=which)
    found = recognise({name: array.shape for name, array in arrays.items()})
    if not isinstance(found, ResNeStSpec) or not found.num_classes:
        kind = "a backbone without a classifier" if isinstance(found, ResNeStSpec) else f"a network for {found.name}"
        raise ValueError(f"{weights} holds {kind}: give a classifier's weights")
    base = None if model is None else get_spec(model)
    base = spec_beside(weights, base.name if base else None) or base
    spec = found if base is None else base.fitted(found)
    size = spec.image_size if size is None else size
    spec.check_size(size, size)
    how = preparation(protocol or protocol_of(weights), size, spec.name)
    names = list(classes or classes_beside(weights, spec.num_classes) or _names(spec.num_classes))
    if len(names) != spec.num_classes:
        raise ValueError(f"there are {len(names)} names for the {spec.num_classes} classes of {Path(weights).name}")
    predict = registry.load(backend).predictor(spec, in_form_of(spec, arrays), device)
    return Classifier(spec, predict, how, names)


def _names(num_classes: int) -> list[str]:
    imagenet = imagenet_names()
    return imagenet if num_classes == len(imagenet) else [f"class {number}" for number in range(num_classes)]
