import math

import numpy as np
import pytest

from resnest.jobs.verify.accuracy import Accuracy, accuracy, guesses


def test_the_first_guess_and_the_first_five_count():
    logits = np.array([[9.0, 8, 7, 6, 5, 4]] * 3)
    assert accuracy(guesses(logits), np.array([0, 4, 5])) == Accuracy(3, 1, 2)


def test_scikit_learn_counts_the_same():
    from sklearn.metrics import top_k_accuracy_score

    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(500, 10)), random.integers(0, 10, 500)
    found = accuracy(guesses(logits), labels)
    assert found.top1 == pytest.approx(100 * top_k_accuracy_score(labels, logits, k=1))
    assert found.top5 == pytest.approx(100 * top_k_accuracy_score(labels, logits, k=5))


def test_of_equal_logits_the_first_class_comes_first_and_what_is_no_number_is_wrong():
    assert accuracy(guesses(np.zeros((2, 6))), np.array([0, 5])) == Accuracy(2, 1, 1)
    logits = np.array([[np.nan] * 6, [np.inf, 1, 1, 1, 1, 1], [9, np.nan, 1, 1, 1, 1], [9, 1, 1, 1, 1, 1]])
    assert accuracy(guesses(logits), np.array([0, 0, 0, 0])) == Accuracy(4, 1, 1, broken=3)


def test_fewer_than_five_classes_are_all_among_the_first_five():
    assert accuracy(guesses(np.array([[1.0, 2.0]])), np.array([0])) == Accuracy(1, 0, 1)


def test_parts_add_up_and_nothing_has_no_accuracy():
    assert Accuracy(4, 1, 3, 1) + Accuracy(6, 2, 3, 2) == Accuracy(10, 3, 6, 3)
    assert (Accuracy(4, 1, 3).top1, Accuracy(4, 1, 3).top5) == (25, 75)
    assert math.isnan(Accuracy().top1)
