import pytest

from resnest.backends import registry
from resnest.jobs import doctor
from resnest.jobs.doctor import BROKEN, MISSING, WORKS, Finding, examine, healthy


def by_name(findings):
    return {one.what: one for one in findings}


def numpy_alone(monkeypatch, package="tests.support.numpy_backend"):
    row = registry.Row("NumPy", "numpy", "torch", package)
    monkeypatch.setattr(registry, "BACKENDS", {"numpy": row})


def test_a_backend_that_predicts_works_and_is_compared_with_the_first(monkeypatch):
    row = registry.Row("NumPy", "numpy", "torch", "tests.support.numpy_backend")
    monkeypatch.setattr(registry, "BACKENDS", {"numpy": row, "again": row})
    one, two = doctor._backends()
    assert (one.state, two.state) == (WORKS, WORKS)
    assert doctor.version("numpy") in one.detail
    assert "0e+00 from the first backend" in two.detail


def test_a_framework_that_is_not_installed_is_missing(monkeypatch):
    row = registry.Row("Nothing", "no-such-framework", "gluon", "resnest.nowhere")
    monkeypatch.setattr(registry, "BACKENDS", {"nothing": row})
    (one,) = doctor._backends()
    assert (one.state, one.mend) == (MISSING, "pip install 'resnest[gluon]'")
    assert not healthy([one])


def test_a_framework_that_is_installed_and_cannot_be_imported_is_broken(monkeypatch):
    numpy_alone(monkeypatch, "resnest.nowhere")
    (one,) = doctor._backends()
    assert one.state == BROKEN


def test_a_framework_that_fails_is_broken(monkeypatch):
    row = registry.Row("NumPy", "numpy", "torch", "tests.support.numpy_backend")
    monkeypatch.setattr(registry, "BACKENDS", {"broken": row, "numpy": row})
    load = registry.load

    def fail(name):
        if name == "broken":
            raise RuntimeError("no kernel\nfor this machine")
        return load(name)

    monkeypatch.setattr(registry, "load", fail)
    one, other = doctor._backends()
    assert (one.state, one.detail) == (BROKEN, "no kernel for this machine")
    assert other.state == WORKS  # the next is looked at all the same


def test_extras_are_those_of_the_package(monkeypatch):
    monkeypatch.setattr(
        doctor.metadata,
        "requires",
        lambda name: [
            "numpy>=1.24",
            'numpy<3; extra == "small"',
            'no-such-package>=2; python_version < "4" and extra == "large"',
            "resnest[small]; extra == 'large'",
        ],
    )
    assert doctor.extras() == {"small": ["numpy"], "large": ["no-such-package"]}
    small, large = doctor._extras()
    assert (small.state, large.state, large.mend) == (WORKS, MISSING, "pip install 'resnest[large]'")


def test_the_cache_says_where_it_is_and_whether_it_can_be_written(monkeypatch, tmp_path):
    monkeypatch.setenv("RESNEST_HOME", str(tmp_path / "not" / "yet"))
    monkeypatch.setenv("RESNEST_OFFLINE", "1")
    (one,) = doctor._cache()
    assert one.state == WORKS
    assert str(tmp_path / "not" / "yet") in one.detail
    assert "RESNEST_OFFLINE" in one.detail
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    (one,) = doctor._cache()
    assert (one.state, one.mend) == (BROKEN, "export RESNEST_HOME=FOLDER")


def test_a_compiler_is_looked_for(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    (one,) = doctor._compiler()
    assert one.state == MISSING
    monkeypatch.setenv("CXX", "/opt/c++")
    (one,) = doctor._compiler()
    assert "/opt/c++" in one.detail


@pytest.mark.parametrize(("state", "well"), [(WORKS, True), (MISSING, True), (BROKEN, False)])
def test_health(state, well):
    title = registry.row("torch").title
    assert healthy([Finding(title, WORKS, ""), Finding("export", state, "")]) is well


def test_this_machine_is_looked_at(monkeypatch):
    numpy_alone(monkeypatch)
    asked = []
    found = by_name(examine(asked.append))
    assert {"Python", "processor", "NumPy", "compiler", "cache"} <= set(found)
    assert asked == ["machine", "backends", "extras", "compiler", "cache"]


def test_extras_for_work_on_this_package_are_not_looked_at():
    named = {one.what for one in doctor._extras()}
    assert {"export", "train", "timm"} <= named
    assert not [extra for extra in named if extra.startswith(("test", "dev", "all"))]
