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
