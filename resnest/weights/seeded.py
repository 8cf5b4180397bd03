"""Weights and inputs that depend on names, shapes and seeds alone: of `resnest parity` and of the golden files.

Every tensor is drawn from its own generator, seeded by the CRC-32 of its canonical
name, so weights can be built in any order and without any framework.
"""

from __future__ import annotations

import zlib

import numpy as np

from resnest.specs.detection.heads import CLASSIFIER_STD, REGRESSION_STD, RPN_STD
from resnest.specs.networks import Network


def draw_weights(spec: Network) -> dict[str, np.ndarray]:
    """Float32 weights of the network `spec`: canonical name -> array, in checkpoint order."""
    return {name: make_weight(name, shape) for name, shape in spec.tensors().items()}


def make_weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 value of the tensor called `name`."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if name.endswith("running_var"):
        value = rng.uniform(0.5, 1.5, shape)
    elif name.endswith(("running_mean", "bias")):
        value = rng.normal(0.0, 0.1, shape)
    elif len(shape) == 1:  # scale of a batch norm; small on the residual branch
        value = rng.uniform(0.5, 1.0, shape) * (0.2 if ".bn3." in name else 1.0)
    elif len(shape) == 2:  # fully connected, shape (out, in); a detector's classifier is sharp, so that it detects
        value = rng.normal(0.0, shape[1] ** -0.5, shape) * (8.0 if "fc_cls" in name else 1.0)
    else:  # convolution, shape (out, in / groups, height, width)
        value = rng.normal(0.0, float((2.0 / np.prod(shape[1:])) ** 0.5), shape)
    return value.astype(np.float32)


def make_input(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Return a float32 NCHW batch of standard normal pixels."""
    return np.random.Generator(np.random.PCG64(seed)).normal(size=shape).astype(np.float32)


def first_weights(spec: Network, seed: int = 0, last_gamma: bool = False) -> dict[str, np.ndarray]:
    """Float32 weights to begin a training with, the same in every backend, drawn as the authors' code does.

    Convolutions are normal with variance 2 / fan-out (groups not counted), the classifier is uniform in +-1 /
    sqrt(features), norms scale by 1 (the last one of each block by 0 with `last_gamma`), and biases are 0. What a
    detector has on top is drawn as mmdetection does.
    """
    return {name: _first(name, shape, seed, last_gamma) for name, shape in spec.tensors().items()}


_STDS = {"rpn_head.": RPN_STD, ".fc_cls.": CLASSIFIER_STD, ".fc_reg.": REGRESSION_STD}
_XAVIER = ("neck.", ".shared_fcs.")
"""How the layers of a detector's pyramid and heads are drawn that are not drawn like a backbone's."""


def _first(name: str, shape: tuple[int, ...], seed: int, last_gamma: bool) -> np.ndarray:
    random = np.random.default_rng((seed, zlib.crc32(name.encode())))
    std = next((std for part, std in _STDS.items() if part in name), None)
    if len(shape) > 1 and std is not None:
        value = random.normal(0.0, std, shape)
    elif len(shape) > 1 and any(part in name for part in _XAVIER):
        pixels = int(np.prod(shape[2:]))
        bound = (6.0 / ((shape[0] + shape[1]) * pixels)) ** 0.5
        value = random.uniform(-bound, bound, shape)
    elif len(shape) == 4:
        value = random.normal(0.0, (2.0 / (shape[0] * shape[2] * shape[3])) ** 0.5, shape)
    elif len(shape) == 2:
        value = random.uniform(-(shape[1] ** -0.5), shape[1] ** -0.5, shape)
    else:
        ones = name.endswith(("weight", "running_var")) and not (last_gamma and name.endswith(".bn3.weight"))
        value = np.full(shape, float(ones))
    return value.astype(np.float32)
