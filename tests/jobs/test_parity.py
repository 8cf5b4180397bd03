import numpy as np
import pytest

from resnest import get_spec, list_models, weights
from resnest.jobs import parity
from resnest.jobs.parity import (
    GRADIENT_BOUND,
    STAGE_BOUND,
    STATISTICS_BOUND,
    compare_stages,
    compare_training,
    difference,
    training_batch,
    verify_conversion,
)
from resnest.specs.detection.network import FAMILIES
from resnest.specs.segmentation.network import HEADS
from resnest.weights.seeded import draw_weights, make_input
from tests.support.arrays import photo_like
from tests.support.specs import tiny, tiny_detector, tiny_segmenter

pytestmark = [pytest.mark.torch, pytest.mark.gluon]


def test_the_bounds_are_the_promised_ones():
    assert STAGE_BOUND == {"float64": 1e-13, "float32": 2e-6}
    assert GRADIENT_BOUND["float64"] == 1e-11
    assert STATISTICS_BOUND["float64"] == 1e-6


DEEPER = ("resnest200", "resnest269")
"""More of the blocks that resnest101 has."""


@pytest.mark.parametrize("name", list_models())
def test_both_backends_give_the_same_numbers(name):
    drawn = draw_weights(get_spec(name))
    dilated = [] if name in DEEPER else [(16, (47, 34)), (8, (33, 41))]
    for output_stride, size in ((32, (65, 97)), *dilated):
        spec = get_spec(name, output_stride=output_stride)
        for dtype in ("float64", "float32"):
            rows = compare_stages(spec, drawn, photo_like(1, 3, *size, dtype=dtype))
            assert [row.name for row in rows] == ["stem", "layer1", "layer2", "layer3", "layer4", "logits"]
            assert all(row.within for row in rows), (output_stride, dtype, rows)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"radix": 4, "cardinality": 2, "avd_first": True},
        {"radix": 1, "cardinality": 4},
        {"output_stride": 8},
        {"output_stride": 16, "dilated_pooling": "openmmlab"},
        {"deep_stem": False, "avg_down": False, "avd": False},
        {"in_channels": 1},
    ],
    ids=str,
)
def test_one_training_step_has_the_same_loss_gradients_and_running_statistics(changes):
    spec = tiny(**changes)
    rows = compare_training(spec, draw_weights(spec), photo_like(4, spec.in_channels, 64, 49))
    names = {row.name for row in rows}
    assert {
        "loss",
        "gradient of conv1.0.weight",
        "gradient of fc.bias",
        "bn1.running_var",
    } <= names or not spec.deep_stem
    assert len(rows) == 1 + len(spec.tensors())
    assert [row for row in rows if not row.within] == []


@pytest.mark.parametrize("name", ["resnest50", "resnest50_fast_4s2x40d"])
def test_a_published_network_takes_the_same_training_step(name):
    spec = get_spec(name)
    rows = compare_training(spec, draw_weights(spec), photo_like(4, 3, 64, 64))
    assert [row for row in rows if not row.within] == []


def test_a_different_tensor_shows_in_the_stage_it_is_in():
    spec = tiny()
    image = photo_like(1, 3, 64, 64)
    from resnest.gluon import backend as gluon
    from resnest.torch import backend as torch

    changed = draw_weights(spec)
    changed["layer3.0.conv2.fc2.bias"] = changed["layer3.0.conv2.fc2.bias"] + 1e-3
    ours, theirs = torch.run_stages(spec, draw_weights(spec), image), gluon.run_stages(spec, changed, image)
    within = [difference("", a, b, 1e-13).within for a, b in zip(ours, theirs)]
    assert within == [True, True, True, False, False, False]


def test_a_difference_is_relative_to_the_largest_value():
    row = difference("x", np.array([1.0, -4.0]), np.array([1.5, -4.0]), 0.1)
    assert (row.absolute, row.relative, row.within) == (0.5, 0.125, False)
    assert not difference("x", np.array([np.nan]), np.array([1.0]), 1e9).within


def test_the_training_batch_is_four_images_that_differ_in_their_means():
    image = photo_like(1, 3, 4, 5)
    batch = training_batch(image)
    assert batch.shape == (4, 3, 4, 5)
    assert (batch[0] == image[0]).all()
    assert (batch[1] == -image[0, :, :, ::-1]).all()
    assert (batch[2:] == batch[:2, ::-1]).all()


@pytest.mark.parametrize(
    ("source", "target"), [("a.npz", "b.params"), ("a.params", "b.safetensors"), ("a.npz", "b.npz")]
)
def test_a_conversion_is_verified_by_its_logits(tmp_path, source, target):
    weights.save(draw_weights(tiny()), tmp_path / source)
    weights.convert(tmp_path / source, tmp_path / target)
    assert verify_conversion(tmp_path / source, tmp_path / target).within
    damaged = draw_weights(tiny())
    damaged["layer2.0.bn3.bias"] += 1e-3
    weights.save(damaged, tmp_path / target)
    assert not verify_conversion(tmp_path / source, tmp_path / target).within


@pytest.mark.gluon
@pytest.mark.parametrize("head", HEADS)
def test_parity_takes_segmentation_networks_in_training_too(head):
    spec = tiny_segmenter(head)
    x = parity.training_batch(make_input((1, 3, 33, 49)).astype("float64"))
    rows = parity.compare_stages(spec, draw_weights(spec), x) + parity.compare_training(spec, draw_weights(spec), x)
    assert {row.name: row.relative for row in rows if not row.within} == {}
    names = {row.name for row in rows}
    assert {"layer4", "logits", "loss", "gradient of decode_head.conv_seg.weight"} <= names
    assert {"backbone.stem.7.running_var", "auxiliary_head.convs.0.bn.running_var"} <= names


@pytest.mark.parametrize("family", FAMILIES)
def test_detectors_are_compared_down_to_what_they_find(family):
    spec = tiny_detector(family)
    rows = compare_stages(spec, draw_weights(spec), photo_like(1, 3, 64, 96))
    names = ["stem", "layer1", "layer2", "layer3", "layer4", "p2", "p3", "p4", "p5", "p6", "boxes", "scores", "labels"]
    assert [row.name for row in rows] == names + ["masks"] * spec.has_masks
    assert all(row.within for row in rows), rows
    assert rows[-1].shape[0] > 0
    rows = compare_stages(spec, draw_weights(spec), photo_like(1, 3, 64, 96, dtype="float32"))
    assert all(row.within for row in rows), rows


def test_another_number_of_detections_is_infinitely_far_away_where_nothing_is_promised():
    row = difference("boxes", np.zeros((3, 4)), np.zeros((2, 4)), None)
    assert (row.shape, row.absolute, row.within) == ((2, 4), np.inf, True)
    with pytest.raises(ValueError, match=r"boxes is \(3, 4\) in one backend and \(2, 4\) in the other"):
        difference("boxes", np.zeros((3, 4)), np.zeros((2, 4)), 1e-9)


def test_a_detectors_training_has_nothing_to_compare_with():
    spec = tiny_detector()
    with pytest.raises(ValueError, match="tiny is a detector, and those are trained in PyTorch alone"):
        compare_training(spec, draw_weights(spec), photo_like(2, 3, 64, 96))
