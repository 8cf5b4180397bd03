"""The recipes say what their sources say, and their schedules are their sources' to the digit."""

import dataclasses
import math
import re

import pytest

from resnest import get_spec, list_models
from resnest.specs.recipe import PRESETS, Recipe, get_recipe
from resnest.specs.update import trained

RECIPE = Recipe(epochs=4, batch=512, size=32, eval_size=32, warmup_epochs=1)


@pytest.mark.parametrize(
    ("name", "batch", "peak", "size", "eval_size"),
    [
        ("resnest14", 1024, 0.4, 224, 224),
        ("resnest26", 1024, 0.4, 224, 224),
        ("resnest50", 8192, 3.2, 224, 224),
        ("resnest101", 4096, 1.6, 224, 256),
        ("resnest200", 2048, 0.8, 256, 320),
        ("resnest269", 2048, 0.8, 320, 416),
    ],
)
def test_the_gluon_recipe_has_the_numbers_of_the_published_commands(name, batch, peak, size, eval_size):
    recipe = get_recipe(name, "gluon")
    assert (recipe.batch, recipe.size, recipe.eval_size) == (batch, size, eval_size)
    assert recipe.peak_lr == pytest.approx(peak, rel=1e-15)
    assert (recipe.epochs, recipe.warmup_epochs, recipe.mixup, recipe.label_smoothing) == (270, 5, 0.2, 0.1)
    assert recipe.nesterov
    assert recipe.last_gamma


def test_dropblock_and_dropout_are_in_the_networks_that_were_trained_with_them():
    assert {name for name in list_models() if not get_recipe(name).dropblock.prob} == {"resnest14"}
    assert {name for name in list_models() if get_recipe(name).final_drop} == {"resnest200", "resnest269"}


def test_large_crops_are_another_librarys():
    crops = {name: get_recipe(name).augmentation.crop for name in list_models()}
    assert {name for name, crop in crops.items() if crop == "efficientnet"} == {"resnest269"}
    assert get_recipe("resnest50").augmentation.antialias is False


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", list_models())
def test_every_network_has_every_recipe(name, preset):
    recipe = get_recipe(name, preset)
    assert recipe.eval_size == get_spec(name).image_size
    assert recipe.augmentation.auto == {"gluon": "autoaugment", "encoding": "randaugment", "finetune": "none"}[preset]


@pytest.mark.gluon
def test_the_warm_up_is_mxnets_and_the_cosine_too_one_step_later():
    from resnest.gluon._mxnet import mx

    steps = 10
    theirs = mx.lr_scheduler.CosineScheduler(4 * steps, base_lr=RECIPE.peak_lr, warmup_steps=steps)
    for step in range(4 * steps):
        update = step + 1 if step < steps else step
        assert RECIPE.learning_rate(step, steps) == pytest.approx(theirs(update), rel=1e-14)


def test_no_step_is_wasted_on_a_learning_rate_of_nothing():
    rates = [RECIPE.learning_rate(step, 10) for step in range(40)]
    assert min(rates) > 0
    assert max(rates) == RECIPE.peak_lr == 0.2
    assert RECIPE.learning_rate(40, 10) == 0
    assert dataclasses.replace(RECIPE, epochs=1, warmup_epochs=0).learning_rate(0, 1) == RECIPE.peak_lr


def test_a_warm_up_ends_with_a_whole_step():
    recipe = RECIPE.with_changes(warmup_epochs=0.25)  # 2.5 of 10 steps
    assert [recipe.learning_rate(step, 10) for step in (0, 1, 2)] == [recipe.peak_lr / 2, *[recipe.peak_lr] * 2]


def test_a_learning_rate_can_be_meant_as_it_stands():
    assert RECIPE.with_changes(lr=0.3, lr_batch=None, warmup_epochs=0).learning_rate(0, 10) == 0.3


@pytest.mark.parametrize(
    ("ramp", "expected"),
    [
        ("epoch", [0.025] * 2 + [0.05] * 2 + [0.075] * 2 + [0.1] * 2),
        ("step", [0.1 * step / 8 for step in range(1, 9)]),
        ("none", [0.1] * 8),
    ],
)
def test_dropblock_ramps_as_the_recipe_says_and_stays_there(ramp, expected):
    recipe = RECIPE.with_changes(dropblock={"prob": 0.1, "ramp": ramp})
    assert [recipe.dropblock_prob(step, 2) for step in range(8)] == pytest.approx(expected)
    assert recipe.dropblock_prob(100, 2) == pytest.approx(0.1)


def test_a_long_ramp_by_steps_has_a_hundred_stairs():
    """MXNet traces its graph anew for every other probability."""
    recipe = RECIPE.with_changes(dropblock={"prob": 0.1, "ramp": "step"})
    probs = [recipe.dropblock_prob(step, 1000) for step in range(4000)]
    assert len({*probs}) == 100
    assert probs == sorted(probs)
    assert max(abs(prob - 0.1 * (step + 1) / 4000) for step, prob in enumerate(probs)) < 0.001


def test_mixup_ends_when_it_is_told_to():
    recipe = RECIPE.with_changes(mixup=0.2, mixup_off_epochs=1)
    assert [recipe.mixup_alpha(epoch) for epoch in range(4)] == [0.2, 0.2, 0.2, 0]


def test_norms_and_biases_have_no_decay_wherever_they_stand():
    spec = get_spec("resnest50")
    rule = RECIPE.rule(spec)
    decayed = {name for name in trained(spec) if rule.decay_of(name)}
    assert decayed == {f"{layer.name}.weight" for layer in spec.layers()} | {"fc.weight"}
    assert RECIPE.with_changes(decay_norms_and_biases=True).rule(spec).decay_of("bn1.weight") == 1e-4


def test_the_rule_has_the_recipes_numbers_and_whatever_else_it_is_told():
    rule = get_recipe("resnest50").rule(get_spec("resnest50"), clip=1.0)
    assert (rule.momentum, rule.nesterov, rule.decay, rule.clip) == (0.9, True, 1e-4, 1.0)


def test_steps_per_epoch_count_what_is_trained_on():
    assert RECIPE.steps_per_epoch(1281167) == 2502
    keeping = RECIPE.with_changes(drop_last=False, batch=10)
    assert [keeping.steps_per_epoch(images) for images in (9, 10, 12)] == [1, 1, 2]
    with pytest.raises(ValueError, match=r"batch=512 is more than the 100 images"):
        RECIPE.steps_per_epoch(100)
    with pytest.raises(ValueError, match=r"batch=10 leaves a last batch of one of the 21 images"):
        keeping.steps_per_epoch(21)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epochs": 0}, "epochs=0 must be a whole number, at least 1"),
        ({"epochs": 1, "warmup_epochs": 5}, "warmup_epochs=5 are more than epochs=1: give fewer, or 0"),
        ({"batch": 1.5}, "batch=1.5 must be a whole number"),
        ({"final_drop": 1}, "final_drop=1 must be below 1"),
        ({"size": 99_999}, "size=99999 must be at most 16384"),
        ({"eval_size": 16_385}, "eval_size=16385 must be at most 16384"),
        ({"label_smoothing": 1.5}, "label_smoothing=1.5 must be below 1"),
        ({"lr": math.nan}, "lr=nan must be a number"),
        ({"momentum": 1}, "momentum=1 must be at least 0 and below 1"),
        ({"momentum": 0, "nesterov": True}, "nesterov looks ahead along the velocity: give a momentum above 0"),
        ({"last_gamma": 1}, "last_gamma=1 must be True or False"),
        ({"dropblock": {"prob": 1}}, "a drop probability of 1"),
        ({"dropblock": {"place": "outside"}}, "place='outside' must be one of inside, after"),
        ({"augmentation": {"auto": "trivial"}}, "auto='trivial' must be one of autoaugment, randaugment, none"),
        ({"augmentation": {"area": (1, 0.1)}}, "area=(1, 0.1) must be two numbers above 0, the smaller one first"),
        ({"augmentation": {"area": (0.1, 2)}}, "area=(0.1, 2) must be parts of the photo"),
        ({"augmentation": {"flip": 2}}, "flip=2 must be at most 1"),
    ],
)
def test_a_number_that_makes_no_recipe_is_named(changes, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        RECIPE.with_changes(**changes)


def test_a_field_that_there_is_not_is_named_with_the_closest():
    with pytest.raises(TypeError, match="no argument 'epoch'; did you mean epochs"):
        RECIPE.with_changes(epoch=3)
    with pytest.raises(TypeError, match="a recipe's augmentation takes no argument 'flips'; did you mean flip"):
        RECIPE.with_changes(augmentation={"flips": 0})
    with pytest.raises(ValueError, match="no recipe 'glunon'; did you mean gluon"):
        get_recipe("resnest50", "glunon")


def test_changes_of_a_part_leave_the_rest_of_it():
    changed = get_recipe("resnest50", augmentation={"area": [0.5, 1]})
    assert changed.augmentation == dataclasses.replace(get_recipe("resnest50").augmentation, area=(0.5, 1))
