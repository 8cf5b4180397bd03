"""One face for every backend: networks of any spec behind NumPy arrays.

What a framework says in its own way is in `tests/NAME/face.py`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from resnest.backends import registry
from resnest.specs.networks import Network
from resnest.weights.seeded import draw_weights


class Backend:
    """The backend that the registry has under `name`."""

    def __init__(self, name: str):
        self.name = name
        package = registry.row(name).package
        self.module = importlib.import_module(package)
        self.networks = importlib.import_module(f"{package}.networks.table").NETWORKS
        self.probe: Any = registry.load(name)
        self.face = importlib.import_module(f"tests.{name}.face")

    def array(self, x: np.ndarray) -> Any:
        return self.face.array(x)

    def numpy(self, output: Any) -> Any:
        """An array, or a list of them, of what a network gave."""
        if isinstance(output, (list, tuple)):
            return [self.numpy(one) for one in output]
        return self.face.numpy(output)

    def build(
        self, spec: Network, weights: Mapping[str, np.ndarray] | None = None, dtype: str | None = None, **options: Any
    ) -> Any:
        """A network of any spec; without `weights`, with those that its names draw."""
        model = self.networks[type(spec)](spec, **options)
        self.module.load_weights(model, draw_weights(spec) if weights is None else weights)
        return model if dtype is None else self.cast(model, dtype)

    def cast(self, model: Any, dtype: str) -> Any:
        return self.face.cast(model, dtype)

    def predict(self, model: Any, x: np.ndarray) -> Any:
        """The output, an array or a list of them, without training."""
        return self.numpy(self.face.predict(model, model, self.array(x)))

    def stages(self, model: Any, x: np.ndarray) -> list[np.ndarray]:
        """The feature maps, without training."""
        return self.numpy(self.face.predict(model, model.forward_stages, self.array(x)))

    def train(self, model: Any, x: np.ndarray) -> Any:
        """The output in training mode, an array or a list of them."""
        return self.numpy(self.face.train(model, self.array(x)))
