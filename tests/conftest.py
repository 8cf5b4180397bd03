"""Which backends the tests run on.

`--backends torch,gluon` (the default: all) asks for both; `--backends torch` runs what needs no MXNet, and
`--backends ''` what needs no framework at all. A backend that was asked for and cannot be imported fails the run.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # one worker per core: more threads would only wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
else:  # the workers get the same folder, and the processes that tests start
    SCRATCH = tempfile.TemporaryDirectory()
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # what failed tests wrote stays where it was
    os.environ["TMPDIR"] = tempfile.tempdir = SCRATCH.name


import pytest

from resnest.backends import registry
from tests.support import needs
from tests.support.backends import Backend

LEFT_OUT = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--backends", default=",".join(registry.BACKENDS), help="backends to test, with commas")


def pytest_configure(config: pytest.Config) -> None:
    for name in registry.BACKENDS:
        config.addinivalue_line("markers", f"{name}: needs the backend {name}, alone or beside others")
    config.stash[LEFT_OUT] = []
    for name in asked_for(config):
        registry.load(name)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if not collection_path.match("test_*.py") or needs.of_file(collection_path) <= set(asked_for(config)):
        return None
    config.stash[LEFT_OUT].append(str(collection_path.relative_to(config.rootpath)))
    return True


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    left_out = config.stash[LEFT_OUT]
    return [f"left out, because they import a backend that was not asked for: {' '.join(left_out)}"] if left_out else []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:  # or the workers do not agree on what there is to run
        assert " at 0x" not in item.nodeid, f"{item.nodeid} has another name in each process: give it an id"
    asked = set(asked_for(config))
    dropped = [item for item in items if not needs.of_test(item) <= asked or (on_each_backend(item) and not asked)]
    config.hook.pytest_deselected(items=dropped)
    items[:] = [item for item in items if item not in dropped]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", asked_for(metafunc.config), indirect=True)


def asked_for(config: pytest.Config) -> list[str]:
    return [name for name in config.getoption("--backends").split(",") if name]


def on_each_backend(item: pytest.Item) -> bool:
    return "backend" in getattr(item, "fixturenames", ())


@pytest.fixture
def backend(request: pytest.FixtureRequest) -> Backend:
    return Backend(request.param)
