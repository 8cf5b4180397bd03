"""Drawn weights: the moments that the docstrings promise, whatever the backend."""

import numpy as np
import pytest

from resnest.weights.seeded import first_weights, make_input, make_weight
from tests.support.specs import tiny


def test_norms_scale_by_half_to_one_and_the_last_ones_of_blocks_by_a_fifth_of_that():
    norm, last = make_weight("layer1.0.bn1.weight", (4000,)), make_weight("layer1.0.bn3.weight", (4000,))
    assert (norm.min(), norm.max()) == pytest.approx((0.5, 1), abs=1e-3)
    assert (last.min(), last.max()) == pytest.approx((0.1, 0.2), abs=1e-3)


@pytest.mark.parametrize(
    ("name", "shape", "mean", "std"),
    [
        ("bn1.running_var", (9000,), 1, 12**-0.5),
        ("bn1.running_mean", (9000,), 0, 0.1),
        ("bn1.bias", (9000,), 0, 0.1),
        ("fc.weight", (90, 100), 0, 0.1),
        ("roi_head.bbox_head.fc_cls.weight", (90, 100), 0, 0.8),
        ("conv1.0.weight", (100, 10, 3, 3), 0, (2 / 90) ** 0.5),
    ],
)
def test_weights_have_their_spread(name, shape, mean, std):
    drawn = make_weight(name, shape)
    assert drawn.dtype == np.float32
    assert drawn.mean() == pytest.approx(mean, abs=0.05 * std)
    assert drawn.std() == pytest.approx(std, rel=0.03)
    assert (drawn == make_weight(name, shape)).all()
    assert (drawn != make_weight(f"other.{name}", shape)).any()


def test_pixels_are_standard_normal_and_follow_from_the_seed():
    pixels = make_input((1, 3, 60, 60))
    assert (pixels.mean(), pixels.std()) == pytest.approx((0, 1), abs=0.03)
    assert (pixels == make_input((1, 3, 60, 60), 0)).all()
    assert (pixels != make_input((1, 3, 60, 60), 1)).any()


def test_first_weights_start_as_the_authors_do():
    spec = tiny()
    weights = first_weights(spec)
    assert {name: array.shape for name, array in weights.items()} == spec.tensors()
    norms = [array for name, array in weights.items() if name.endswith(("bn1.weight", "bn3.weight", "running_var"))]
    assert all((array == 1).all() for array in norms)
    assert not any(array.any() for name, array in weights.items() if name.endswith(("bias", "running_mean")))
    conv = weights["layer4.0.conv3.weight"]
    assert conv.std() == pytest.approx((2 / len(conv)) ** 0.5, rel=0.03)
    bound = spec.feature_channels[-1] ** -0.5
    assert (weights["fc.weight"].min(), weights["fc.weight"].max()) == pytest.approx((-bound, bound), rel=0.01)


def test_the_last_norms_may_start_at_zero():
    weights = first_weights(tiny(), last_gamma=True)
    assert {name.split(".")[-2] for name, array in weights.items() if array.ndim == 1 and array.any()} >= {"bn1"}
    assert not any(array.any() for name, array in weights.items() if name.endswith(".bn3.weight"))
    assert all((array == 1).all() for name, array in weights.items() if name.endswith(".bn1.weight"))


def test_another_seed_draws_other_convolutions():
    first, other = first_weights(tiny()), first_weights(tiny(), seed=1)
    assert (first["conv1.0.weight"] != other["conv1.0.weight"]).any()
