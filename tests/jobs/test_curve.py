"""The same curve: twenty steps of training in every backend, side by side."""

import json

import numpy as np
import pytest

from resnest.backends import registry, training
from resnest.data.photos import sample_photo
from resnest.jobs import curve
from resnest.specs.recipe import get_recipe
from resnest.weights.seeded import draw_weights
from tests.support import cli
from tests.support.specs import tiny

pytestmark = [pytest.mark.torch, pytest.mark.gluon]

SPEC = tiny(stage_depths=(1, 1, 1, 1), radix=4, cardinality=2)


RECIPE = get_recipe("resnest50").with_changes(size=33)


def batches_of(steps, dtype="float64"):
    return list(curve.draw_batches(sample_photo(), RECIPE, SPEC, steps, dtype, images=4))


def points(steps=20, **options):
    batches = batches_of(steps, options.get("dtype", "float64"))
    return curve.compare_curves(SPEC, draw_weights(SPEC), batches, curve.warmed_up(steps), curve.rule(SPEC), **options)


def test_twenty_steps_have_the_same_losses_and_weights():
    assert curve.CURVE_BOUND["float64"] == 1e-9
    found = points()
    assert [point.step for point in found] == list(range(1, 21))
    assert [point for point in found if not point.within] == []
    assert len({point.loss for point in found}) == 20
    assert 0.9 < curve.growth(found)["MXNet Gluon"] < 3


def test_a_rule_with_another_meaning_shows_at_the_first_step_at_which_it_differs(monkeypatch):
    from resnest.gluon.training.update import Update

    right = Update.step

    def with_rate_in_the_velocity(self, rate):
        """As MXNet's own optimizer does it."""
        for velocity in self.velocities.values():
            velocity *= self.__dict__.get("before", rate) / rate
        self.before = rate
        right(self, rate)

    monkeypatch.setattr(Update, "step", with_rate_in_the_velocity)
    assert curve.warmed_up(4)[0] == curve.warmed_up(4)[1]  # as long as the rate is constant they mean the same
    assert [point.within for point in points(4)] == [True, True, False, False]


def test_float32_is_shown_and_not_judged():
    found = points(2, dtype="float32")
    assert all(point.within and point.weights.bound is None for point in found)
    assert 0 < found[-1].weights.relative < 1e-2


def test_one_backend_alone_is_compared_with_nothing():
    with pytest.raises(ValueError, match="there is only torch"):
        points(2, backends=["torch"])


def test_batches_are_drawn_from_the_step_alone_and_are_those_of_the_recipe():
    one, other = batches_of(3), batches_of(3)
    assert all((a == b).all() for pair in zip(one, other) for a, b in zip(*pair))
    assert (one[0][0] != one[1][0]).any()
    assert one[0][0].dtype == one[0][1].dtype == np.float64
    assert np.allclose(one[0][1].sum(1), 1)
    shares = np.array([targets.max(1) for _, targets in one])
    assert (shares < 0.92 - 1e-9).any()  # 0.9 and a fifth of 0.1 where nothing is mixed


def test_the_rate_warms_up_and_falls():
    rates = curve.warmed_up(20)
    assert rates[:5] == [0.002, 0.004, 0.006, 0.008, 0.01]
    assert rates[5] == 0.01
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] > 0


@pytest.fixture
def command(monkeypatch):
    from resnest.cli.commands import parity

    monkeypatch.setattr(parity, "get_spec", lambda name: SPEC)
    return lambda *options: cli.run("parity", "resnest14", "--size", "33", *options)


def test_the_command_draws_both_curves_and_says_how_their_difference_grows(command, tmp_path):
    done = command("--steps", "3", "--plot", str(tmp_path / "curve.svg"))
    assert done.exit_code == 0, done.output
    assert done.stdout.count("same") == 3
    assert "-fold from step to step" in done.stdout
    assert "loss" in (tmp_path / "curve.svg").read_text()


def test_the_command_ends_with_1_where_a_bound_is_broken(command, monkeypatch):
    monkeypatch.setitem(curve.CURVE_BOUND, "float64", 1e-17)
    done = command("--steps", "2", "--json")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert [point["step"] for point in report["points"]] == [1, 2]
    assert not report["points"][-1]["within"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--plot", "a.svg"], "say --steps 20 too"),
        (["--steps", "3", "--deploy"], "a network in deploy form has no training"),
        (["--steps", "3", "--protocol", "timm"], "--steps augments it"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_one_sentence(command, options, sentence):
    done = command(*options)
    assert done.exit_code == 2
    assert sentence in " ".join(done.stderr.split())


def test_a_backend_that_does_not_train_is_left_out(monkeypatch):
    monkeypatch.setitem(
        registry.BACKENDS, "numpy", registry.Row("NumPy", "numpy", "", "tests.support.numpy_backend", trained=())
    )
    assert {point.backend for point in points(2)} == {"MXNet Gluon"}
    assert "numpy" not in training.trainers()
