"""Weights of a network with other input channels or classes, made to fit; the same for both backends."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

import numpy as np

from resnest.specs.resnest import ResNeStSpec

logger = logging.getLogger(__name__)

CLASSIFIER = ("fc.weight", "fc.bias")


def adapt(weights: Mapping[str, np.ndarray], spec: ResNeStSpec, asked: Collection[str]) -> dict[str, np.ndarray]:
    """Canonical `weights` with the input channels and classes of `spec`.

    Only what was `asked` for changes ("in_channels", "num_classes", "global_pool"): the first convolution is
    spread over the channels and the classifier is drawn anew, and a warning says so. Raises
    ValueError where the weights have other channels or classes and nobody asked for that.
    """
    adapted = dict(weights)
    expected = spec.tensors()
    first = f"{spec.stem()[0].name}.weight"
    channels = _length(weights.get(first), expected[first], axis=1)
    if channels not in (None, spec.in_channels):
        _check_asked("in_channels", channels, spec, asked)
        adapted[first] = spread(weights[first], spec.in_channels)
        logger.warning("the first convolution was spread from %d input channels to %d", channels, spec.in_channels)
    classes = _length(weights.get("fc.weight"), expected.get("fc.weight"), axis=0)
    if classes not in (None, spec.num_classes):
        _check_asked("num_classes", classes, spec, asked)
        adapted.update(fresh_classifier(spec))
        logger.warning("the classifier for %d classes gave way to an untrained one for %d", classes, spec.num_classes)
    elif "global_pool" in asked and _of_another_pooling(weights.get("fc.weight"), spec):
        adapted.update(fresh_classifier(spec))
        logger.warning("the classifier for another pooling gave way to an untrained one for %r", spec.global_pool)
    elif spec.num_classes and "num_classes" in asked and not weights.keys() & set(CLASSIFIER):
        adapted.update(fresh_classifier(spec))
        logger.warning("there is no classifier in these weights: the one for %d classes is untrained", spec.num_classes)
    return adapted


def _length(found: np.ndarray | None, expected: tuple[int, ...] | None, axis: int) -> int | None:
    """How long a tensor is along `axis`; None unless it is the expected one but for that."""
    if found is None or expected is None:
        return None
    others = [shape[:axis] + shape[axis + 1 :] for shape in (found.shape, expected)]
    return found.shape[axis] if others[0] == others[1] else None


def _of_another_pooling(weight: np.ndarray | None, spec: ResNeStSpec) -> bool:
    """Whether a classifier sees as many numbers of an image as another `global_pool` than the spec's makes."""
    others = {spec.feature_channels[-1] * times for times in (1, 2)} - {spec.pooled_channels}
    return bool(spec.num_classes) and weight is not None and weight.ndim == 2 and weight.shape[1] in others


def _check_asked(field: str, found: int | None, spec: ResNeStSpec, asked: Collection[str]) -> None:
    if field not in asked:
        wanted = getattr(spec, field)
        raise ValueError(
            f"these weights have {field} {found} and {spec.name} has {wanted}: say {field}={found} to have a network"
            f" like them, or {field}={wanted} to change them"
        )


def spread(weight: np.ndarray, channels: int) -> np.ndarray:
    """A convolution's weight (out, in, height, width) for another number of input `channels`.

    More channels repeat the old ones in turn, each copy divided by how many there are of it;
    fewer share their mean. An image whose channels are all alike gets the same response as before.
    """
    old = weight.shape[1]
    if channels < old:
        mean = weight.mean(axis=1, keepdims=True, dtype=np.float64)
        return np.repeat(mean * (old / channels), channels, axis=1).astype(weight.dtype)
    source = np.arange(channels) % old
    copies = np.bincount(source)[source]
    return (weight[:, source] / copies[:, None, None]).astype(weight.dtype)


def fresh_classifier(spec: ResNeStSpec) -> dict[str, np.ndarray]:
    """An untrained classifier, uniform in +-1 / sqrt(features) as PyTorch's and the authors' are.

    It is the same on every call, so that both backends start from the same numbers;
    `reset_classifier` draws another.
    """
    shapes = spec.tensors()
    bound = spec.pooled_channels**-0.5
    random = np.random.Generator(np.random.PCG64(spec.num_classes))
    return {name: random.uniform(-bound, bound, shapes[name]).astype(np.float32) for name in CLASSIFIER}
