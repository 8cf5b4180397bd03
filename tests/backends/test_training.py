"""One step of training after the other, in every backend."""

import numpy as np
import pytest

from resnest.backends import training
from resnest.backends.training import Setup, smoothed
from resnest.specs.update import UpdateRule, frozen_norms, frozen_tensors, layer_rates, norms_and_biases, trained
from resnest.weights.seeded import draw_weights
from tests.support.arrays import photo_like, relative
from tests.support.specs import tiny

SPEC = tiny(stage_depths=(1, 1, 1, 1))
LABELS = np.array([0, 1, 2, 3])


def batch(seed=0, images=4, dtype="float64"):
    return photo_like(images, 3, 33, 33, seed=seed, dtype=dtype), smoothed(LABELS[:images], 5, 0.1, dtype)


def start(backend, rule=None, weights=None, **setup):
    weights = draw_weights(SPEC) if weights is None else weights
    setup = Setup(**{"dtype": "float64"} | setup)
    return training.load(backend.name).open_trainer(SPEC, weights, rule or UpdateRule(), setup)


def descend(gradient_at, weights, rule, rates):
    """The rule as its docstring has it, in NumPy."""
    weights = {name: array.astype("float64") for name, array in weights.items()}
    velocities = {name: 0.0 for name in trained(SPEC) if name not in rule.frozen}
    for rate in rates:
        gradients = {name: gradient for name, gradient in gradient_at(weights).items() if name in velocities}
        if rule.clip is not None:
            norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
            gradients = {name: gradient * min(1, rule.clip / norm) for name, gradient in gradients.items()}
        for name, gradient in gradients.items():
            g = gradient + rule.decay_of(name) * weights[name]
            velocities[name] = rule.momentum * velocities[name] + g
            step = g + rule.momentum * velocities[name] if rule.nesterov else velocities[name]
            weights[name] = weights[name] - rate * rule.rate_of(name) * step
    return weights


@pytest.mark.parametrize(
    "rule",
    [
        UpdateRule(),
        UpdateRule(momentum=0.0, decay=0.0),
        UpdateRule(nesterov=True, decay=0.1, undecayed=norms_and_biases(SPEC)),
        UpdateRule(decay=0.1, rates=layer_rates(SPEC, 0.5), frozen=frozen_tensors(SPEC, 2)),
        UpdateRule(nesterov=True, clip=0.5),
    ],
    ids=["plain", "without momentum", "nesterov, decay of some", "layer-wise rates, frozen stages", "clipped"],
)
def test_steps_follow_the_rule(backend, rule):
    images, _ = batch()
    trainer = start(backend, rule)
    rates = [0.1, 0.2, 0.05]
    for key, rate in enumerate(rates):
        trainer.step([(images, smoothed(LABELS, 5, 0, "float64"))], rate, key)

    def gradient_at(weights):
        return backend.probe.run_training_step(SPEC, weights, images, LABELS)[1]

    expected = descend(gradient_at, draw_weights(SPEC), rule, rates)
    ours = trainer.weights()
    tolerance = 1e-6 if rule.clip else 1e-12  # PyTorch's norm is 1e-6 longer, lest it divide by nothing
    assert {name for name in trained(SPEC) if relative(ours[name], expected[name]) > tolerance} == set()
    for name in rule.frozen:
        assert (ours[name] == draw_weights(SPEC)[name]).all()


def test_the_loss_is_cross_entropy_with_the_targets(backend):
    images, targets = batch()
    targets[0] = 0.3 * targets[0] + 0.7 * targets[1]
    trainer = start(backend)
    logits = backend.train(backend.build(SPEC, dtype="float64"), images)
    shifted = logits - logits.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    loss = trainer.value(trainer.step([(images, targets)], 0.0, 0))
    assert abs(loss + (targets * logs).sum(1).mean()) < 1e-12


def test_smoothed_targets_add_up_to_one():
    targets = smoothed(np.array([1, 0]), 4, 0.1, "float64")
    assert np.allclose(targets, [[0.025, 0.925, 0.025, 0.025], [0.925, 0.025, 0.025, 0.025]], atol=1e-15)


def test_accumulated_batches_have_the_mean_of_their_gradients(backend):
    halves = [batch(0, 2), batch(1, 2)]
    rule = UpdateRule(momentum=0.0, decay=0.0)
    before = draw_weights(SPEC)
    steps = []
    for half in halves:
        trainer = start(backend, rule)
        trainer.step([half], 0.1, 0)
        steps.append(trainer.weights())
    trainer = start(backend, rule, accumulate=2)
    for _ in range(2):  # nothing of the first step's gradients is left in the second's
        trainer.load_state({"weights": before, "velocity": trainer.state()["velocity"]})
        trainer.step(halves, 0.1, 0)
    both = trainer.weights()
    for name in trained(SPEC):
        assert np.abs(both[name] - (steps[0][name] + steps[1][name]) / 2).max() < 1e-13, name


@pytest.mark.parametrize("average", [None, 0.9])
def test_a_state_goes_on_bit_for_bit(backend, average):
    options = {"average": average, "dtype": "float32", "dropout": {"final_drop": 0.5}}
    one = start(backend, **options)
    for key in range(3):
        one.step([batch(key, dtype="float32")], 0.05, key)
    other = start(backend, weights={name: array * 0 + 1 for name, array in draw_weights(SPEC).items()}, **options)
    other.load_state(one.state())
    for trainer in (one, other):
        trainer.step([batch(3, dtype="float32")], 0.05, 3)
    states = [trainer.state() for trainer in (one, other)]
    assert states[0].keys() == {"weights", "velocity", *(["average"] if average else [])}
    for part, arrays in states[0].items():
        assert arrays.keys() == states[1][part].keys()
        assert [name for name in arrays if (arrays[name] != states[1][part][name]).any()] == []


def test_what_is_drawn_follows_from_the_key(backend):
    losses = []
    for key in (1, 1, 2):
        trainer = start(backend, dropout={"final_drop": 0.5})
        losses.append(trainer.value(trainer.step([batch()], 0.0, key)))
    assert losses[0] == losses[1] != losses[2]


def test_the_average_starts_as_the_weights_and_follows_them(backend):
    trainer = start(backend, average=0.75)
    seen = []
    for key in range(3):
        trainer.step([batch(key)], 0.1, key)
        seen.append(trainer.weights())
    expected = seen[0]
    for weights in seen[1:]:
        expected = {name: 0.75 * array + 0.25 * weights[name] for name, array in expected.items()}
    averaged = trainer.weights(averaged=True)
    assert {name for name in expected if relative(averaged[name], expected[name]) > 1e-12} == set()
    images, _ = batch()
    for which, weights in ((True, averaged), (False, trainer.weights())):
        predicted = backend.probe.run_stages(SPEC, weights, images)[-1]
        assert relative(trainer.predict(images, averaged=which), predicted) < 1e-12


def test_frozen_norms_keep_their_statistics(backend):
    frozen = frozen_norms(SPEC, 2)
    trainer = start(backend, UpdateRule(frozen=frozen_tensors(SPEC, 2)), frozen_norms=frozen)
    trainer.predict(batch()[0])  # predicting in between changes nothing
    trainer.step([batch()], 0.1, 0)
    before, after = draw_weights(SPEC), trainer.weights()
    kept = {name for name in after if ".running_" in name and (after[name] == before[name]).all()}
    assert kept == {f"{norm}.running_{what}" for norm in frozen for what in ("mean", "var")}
    assert "bn1" in frozen
    assert "layer1.0.conv2.bn1" in frozen
    assert "layer2.0.bn1" not in frozen


def test_drop_blocks_sets_every_probability(backend):
    trainer = start(backend, dropout={"dropblock_prob": 0.1})
    plain = start(backend).value(start(backend).step([batch()], 0.0, 1))
    losses = []
    for prob in (0.0, 0.4):
        trainer.load_state(start(backend).state())
        trainer.drop_blocks(prob)
        losses.append(trainer.value(trainer.step([batch()], 0.0, 1)))
    assert abs(losses[0] - plain) < 1e-12
    assert abs(losses[1] - plain) > 1e-6


@pytest.mark.gluon
@pytest.mark.parametrize(
    ("setup", "key"),
    [
        ({"dtype": "bfloat16"}, "dtype"),
        ({"channels_last": True}, "channels_last"),
        ({"compiled": True}, "compile"),
        ({"sync_norms": True}, "sync_bn"),
    ],
    ids=str,
)
def test_what_mxnet_cannot_do_is_refused_by_its_key(setup, key):
    with pytest.raises(ValueError, match=rf"{key}\b.* is not for MXNet"):
        training.load("gluon").check_setup(Setup(**setup))


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_pytorch_trains_in_half_precision(dtype):
    trainer = training.load("torch").open_trainer(SPEC, draw_weights(SPEC), UpdateRule(), Setup(dtype=dtype))
    exact = training.load("torch").open_trainer(SPEC, draw_weights(SPEC), UpdateRule(), Setup())
    losses = [[t.value(t.step([batch(dtype="float32")], 0.01, key)) for key in range(3)] for t in (trainer, exact)]
    assert 0 < relative(*map(np.array, losses)) < 0.1
    assert {array.dtype.name for array in trainer.weights().values()} == {"float32"}
    again = training.load("torch").open_trainer(SPEC, draw_weights(SPEC), UpdateRule(), Setup(dtype=dtype))
    again.load_state(trainer.state())
    assert again.value(again.step([batch(dtype="float32")], 0, 9)) == trainer.value(
        trainer.step([batch(dtype="float32")], 0, 9)
    )


@pytest.mark.torch
def test_a_setup_that_makes_none_is_refused():
    with pytest.raises(ValueError, match="dtype='int8' must be one of float32, float64, float16, bfloat16"):
        Setup(dtype="int8")
    with pytest.raises(ValueError, match="sync_bn needs GPUs"):
        training.load("torch").check_setup(Setup(sync_norms=True))
