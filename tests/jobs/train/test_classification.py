"""How a training judges its network; what it does step by step is in tests/backends/test_train.py."""

from types import SimpleNamespace

import numpy as np
import pytest

from resnest.jobs.train.classification import evaluate
from resnest.jobs.train.source import Arrays
from resnest.specs.recipe import get_recipe

RECIPE = get_recipe("resnest50").with_changes(batch=4)

LABELS = np.array([0, 1, 2, 6, 6, 0])


def judged(logits):
    images = np.zeros((len(LABELS), 3, 8, 8), np.float32)
    source = Arrays((images, LABELS), (images, LABELS), 7, RECIPE)
    parts = iter([logits[:4], logits[4:]])
    trainer = SimpleNamespace(predict=lambda images, averaged: next(parts), total=lambda sums: sums)
    return evaluate(trainer, source, SimpleNamespace(recipe=RECIPE))


def test_a_network_that_tells_nothing_apart_is_right_about_one_class():
    """Of equal logits not each is the largest."""
    found = judged(np.zeros((6, 7), np.float32))
    assert (found["top1"], found["top5"]) == (pytest.approx(100 * 2 / 6), pytest.approx(100 * 4 / 6))
    assert found["eval_loss"] == pytest.approx(np.log(7))


def test_logits_that_are_no_numbers_are_never_right():
    logits = np.eye(7, dtype=np.float32)[LABELS]
    assert judged(logits)["top1"] == 100
    logits[2, 5], logits[4] = np.nan, np.nan
    assert judged(logits)["top1"] == pytest.approx(100 * 4 / 6)
    assert np.isnan(judged(logits)["eval_loss"])
