"""Which backends the tests run on, and one face for both.

`--backends torch,gluon` (the default) asks for both; `--backends torch` runs what needs PyTorch
alone. A backend that was asked for and cannot be imported fails the run.
"""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # one worker per core: more threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from resnest import ResNeStSpec
from resnest.weights.seeded import draw_weights

NEEDS_GLUON = "gluon"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backends", default="torch,gluon", help="backends to test: torch,gluon or torch")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gluon: needs MXNet Gluon, alone or beside PyTorch")
    for name in asked_for(config):
        importlib.import_module(f"resnest.{name}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if NEEDS_GLUON not in asked_for(config):
        dropped = [item for item in items if item.get_closest_marker(NEEDS_GLUON)]
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", asked_for(metafunc.config), indirect=True)


def asked_for(config: pytest.Config) -> list[str]:
    return config.getoption("--backends").split(",")


class Backend:
    """One backend behind NumPy arrays."""

    def __init__(self, name: str):
        self.name = name
        self.module = importlib.import_module(f"resnest.{name}")
        self.network = importlib.import_module(f"resnest.{name}.networks.resnest").ResNeSt
        self.probe = importlib.import_module(f"resnest.{name}.backend")

    def array(self, x: np.ndarray) -> Any:
        if self.name == "torch":
            import torch

            return torch.from_numpy(x)
        from resnest.gluon._mxnet import mx

        return mx.nd.array(x, dtype=x.dtype)

    def build(self, spec: ResNeStSpec, weights: Mapping[str, np.ndarray] | None = None, **options: Any) -> Any:
        """A network of any spec; without `weights`, with those that its names draw."""
        model = self.network(spec, **options)
        self.module.load_weights(model, draw_weights(spec) if weights is None else weights)
        return model

    def predict(self, model: Any, x: np.ndarray) -> Any:
        """The output, an array or a list of them, without training."""
        if self.name == "torch":
            import torch

            with torch.no_grad():
                return _numpy(model.eval()(self.array(x)))
        return _numpy(model(self.array(x)))

    def stages(self, model: Any, x: np.ndarray) -> list[np.ndarray]:
        """The feature maps, without training."""
        if self.name == "torch":
            import torch

            with torch.no_grad():
                return [stage.numpy() for stage in model.eval().forward_stages(self.array(x))]
        return [stage.asnumpy() for stage in model.forward_stages(self.array(x))]

    def train(self, model: Any, x: np.ndarray) -> np.ndarray:
        """The output in training mode."""
        if self.name == "torch":
            return model.train()(self.array(x)).detach().numpy()
        from resnest.gluon._mxnet import mx

        with mx.autograd.record():
            return model(self.array(x)).asnumpy()


def _numpy(output: Any) -> Any:
    if isinstance(output, (list, tuple)):
        return [_numpy(one) for one in output]
    return output.numpy() if hasattr(output, "numpy") else output.asnumpy()


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    return Backend(request.param)


def tiny(**changes: Any) -> ResNeStSpec:
    """A network small enough for a test, with everything in it that a large one has."""
    fields = {"stage_depths": (1, 2, 1, 1), "bottleneck_width": 8, "stem_width": 8, "num_classes": 5} | changes
    return ResNeStSpec("tiny", **fields)


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """max |a - b| over max |b|."""
    assert a.shape == b.shape
    return float(np.abs(a - b).max() / np.abs(b).max())


def photo_like(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)
