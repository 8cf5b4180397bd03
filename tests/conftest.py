"""Which backends the tests run on.

`--backends torch,gluon` (the default: all) asks for both; `--backends torch` runs what needs PyTorch
alone. A backend that was asked for and cannot be imported fails the run.
"""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # one worker per core: more threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")


import pytest

from resnest.backends import registry
from tests.support.backends import Backend

NEEDS_GLUON = "gluon"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backends", default=",".join(registry.BACKENDS), help="backends to test, with commas")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "gluon: needs MXNet Gluon, alone or beside PyTorch")
    for name in asked_for(config):
        registry.load(name)


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


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    return Backend(request.param)
