import numpy as np
import pytest

from resnest.jobs.verify.iou import Scores, confusion_matrix


def test_scores_are_those_counted_by_hand():
    truth = np.array([[0, 0, 1, 255], [1, 1, 2, 2]])
    predicted = np.array([[0, 1, 1, 0], [1, 1, 2, 0]])
    scores = Scores(confusion_matrix(truth, predicted, 4))
    np.testing.assert_allclose(scores.iou, [1 / 3, 3 / 4, 1 / 2, np.nan])
    np.testing.assert_allclose(scores.accuracy, [1 / 2, 1, 1 / 2, np.nan])
    assert scores.mean_iou == pytest.approx((1 / 3 + 3 / 4 + 1 / 2) / 3)
    assert scores.pixel_accuracy == pytest.approx(5 / 7)


def test_more_than_255_classes_have_their_own_label_for_none():
    truth, predicted = np.array([[255, 299, 65535]]), np.array([[255, 0, 3]])
    counts = confusion_matrix(truth, predicted, 300)
    assert (counts[255, 255], counts[299, 0], counts.sum()) == (1, 1, 2)
