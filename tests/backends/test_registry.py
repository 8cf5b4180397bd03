"""The registry: what it says of each backend is so, and one more backend is one more row."""

import numpy as np
import pytest

from resnest.backends import registry, training
from resnest.jobs.bench.run import Job, contenders
from resnest.jobs.parity import compare_stages, titles
from resnest.weights.names.backbone import DIALECTS
from resnest.weights.seeded import draw_weights
from tests.support import cli
from tests.support.arrays import photo_like
from tests.support.specs import tiny


@pytest.fixture
def three(monkeypatch):
    """The registry with a backend of the tests' own in it."""
    monkeypatch.setitem(
        registry.BACKENDS, "numpy", registry.Row("NumPy", "numpy", "", "tests.support.numpy_backend", trained=())
    )
    return list(registry.BACKENDS)


@pytest.mark.torch
@pytest.mark.gluon
@pytest.mark.parametrize(
    "changes",
    [{}, {"radix": 1}, {"radix": 4, "cardinality": 2}, {"output_stride": 8}, {"avd_first": True}, {"deep_stem": False}],
    ids=str,
)
def test_parity_compares_any_number_of_backends_with_the_first(three, changes):
    spec = tiny(**{"stage_depths": (1, 1, 1, 1)} | changes)
    rows = compare_stages(spec, draw_weights(spec), photo_like(2, 3, 49, 65))
    assert titles() == ["PyTorch", "MXNet Gluon", "NumPy"]
    assert [(row.backend, row.name) for row in rows] == [
        (backend, name)
        for backend in ("MXNet Gluon", "NumPy")
        for name in ("stem", "layer1", "layer2", "layer3", "layer4", "logits")
    ]
    assert {(row.backend, row.name): row.relative for row in rows if not row.within} == {}


@pytest.mark.torch
@pytest.mark.gluon
def test_the_command_shows_them_all(three):
    done = cli.run("parity", "resnest14", "--size", "33", "--dtype", "float64")
    assert done.exit_code == 0, done.output
    assert "PyTorch against MXNet Gluon, NumPy" in done.stdout
    assert done.stdout.count("same") == 12
    assert "backend" in done.stdout


@pytest.mark.torch
@pytest.mark.gluon
def test_a_backend_that_is_wrong_is_named(three, monkeypatch):
    wrong = registry.load("numpy")
    right = wrong.run_stages
    monkeypatch.setattr(wrong, "run_stages", lambda *arguments: [stage * (1 + 1e-9) for stage in right(*arguments)])
    spec = tiny()
    rows = compare_stages(spec, draw_weights(spec), photo_like(1, 3, 49, 65))
    assert {row.backend for row in rows if not row.within} == {"NumPy"}


@pytest.mark.torch
def test_two_of_them_can_be_asked_for(three):
    spec = tiny()
    rows = compare_stages(spec, draw_weights(spec), photo_like(1, 3, 49, 65), backends=["numpy", "torch"])
    assert {row.backend for row in rows} == {"PyTorch"}
    assert all(row.within for row in rows)


def test_a_backend_can_be_timed_by_its_name(three):
    assert "tests.support.numpy_backend" in contenders(Job("resnest50"), ["numpy"])
    assert "tests.support.numpy_backend" not in contenders(Job("resnest50"), ["timm"])
    assert "tests.support.numpy_backend" not in contenders(Job("resnest50", train=True), ["numpy"])


def test_a_backend_may_leave_training_to_others(three):
    assert training.trainers() == ["torch", "gluon"]
    with pytest.raises(ValueError, match="NumPy does not train; torch and gluon do"):
        training.load("numpy")


def test_an_unknown_backend_says_which_was_meant():
    with pytest.raises(ValueError, match=r"there is no backend 'torhc'; did you mean torch\?"):
        registry.load("torhc")


def test_a_framework_s_own_dialects_are_those_with_its_words_for_a_norm():
    own = {dialect for row in registry.BACKENDS.values() for dialect in row.dialects}
    assert own == {name for name, dialect in DIALECTS.items() if dialect.norm}
    assert registry.speaker_of("symbol") == "gluon"
    assert registry.speaker_of("mmpretrain") == "torch"


def test_the_first_backend_that_is_installed_stands_for_the_model(monkeypatch):
    monkeypatch.setitem(registry.BACKENDS, "torch", registry.Row("PyTorch", "torch", "torch", "resnest.nowhere"))
    monkeypatch.setitem(registry.BACKENDS, "gluon", registry.Row("NumPy", "numpy", "", "tests.support.numpy_backend"))
    assert registry.installed() is registry.load("gluon")
    spec = tiny()
    assert np.isfinite(registry.installed().run_stages(spec, draw_weights(spec), photo_like(1, 3, 49, 65))[-1]).all()
