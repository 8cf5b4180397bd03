import json

from resnest.backends import registry
from tests.support.cli import run


def test_it_says_what_works_and_what_mends_the_rest(monkeypatch):
    rows = {
        "numpy": registry.Row("NumPy", "numpy", "", "tests.support.numpy_backend"),
        "nothing": registry.Row("Nothing", "no-such-framework", "gluon", "resnest.nowhere"),
    }
    monkeypatch.setattr(registry, "BACKENDS", rows)
    result = run("doctor", "--json")
    assert result.exit_code == 0, result.output
    found = {one["what"]: one for one in json.loads(result.stdout)}
    assert found["NumPy"]["state"] == "works"
    assert found["Nothing"]["mend"] == "pip install 'resnest[gluon]'"
    shown = run("doctor").stdout
    assert "works   NumPy" in shown
    assert "pip install 'resnest[gluon]'" in shown


def test_without_a_backend_the_status_is_1(monkeypatch):
    nothing = registry.Row("Nothing", "no-such-framework", "gluon", "resnest.nowhere")
    monkeypatch.setattr(registry, "BACKENDS", {"nothing": nothing})
    assert run("doctor").exit_code == 1
