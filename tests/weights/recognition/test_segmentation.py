import dataclasses

import numpy as np
import pytest

from resnest import get_segmentation_spec, list_segmentation_models
from resnest import weights as weight_files
from resnest.specs.segmentation.network import HEADS
from resnest.weights.names.segmentation import get_dialect
from resnest.weights.recognition import segmentation
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny, tiny_segmenter


@pytest.mark.parametrize("name", list_segmentation_models())
def test_every_network_is_recognised_by_its_tensors(name):
    spec = get_segmentation_spec(name)
    assert weight_files.recognise(spec.tensors()) == spec


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "changes", [{}, {"auxiliary_channels": 0}, {"channels": 16, "num_classes": 3}, {"joins_input": False}], ids=str
)
def test_a_network_of_ones_own_is_recognised_too(head, changes):
    spec = tiny_segmenter(head, **changes if head == "fcn" else changes | {"joins_input": True})
    found = segmentation.recognise(spec.tensors())
    assert found == dataclasses.replace(spec, name="segmentation", backbone=found.backbone)
    assert found.backbone.tensors() == spec.backbone.tensors()


def test_what_tensors_cannot_show_is_told_by_their_dialect_or_their_like():
    theirs = get_dialect("sssegmentation", tiny_segmenter("aspp"))
    assert segmentation.recognise(tiny_segmenter("aspp").tensors()).pooled_first
    assert not segmentation.recognise(tiny_segmenter("aspp").tensors(), theirs).pooled_first
    for name, pooled_first in (("deeplabv3_resnest101_ade20k", True), ("deeplabv3_resnest101_ade20k_ssseg", False)):
        found = segmentation.recognise(get_segmentation_spec(name, num_classes=3).tensors())
        assert (found.pooled_first, found.num_classes) == (pooled_first, 3)


def test_tensors_of_something_else_are_one_sentence():
    shapes = tiny_segmenter().tensors()
    del shapes["decode_head.conv_seg.weight"]
    for others in (shapes, tiny().tensors()):
        with pytest.raises(ValueError, match="no segmentation network's: decode_head is none of FCN, PSP and ASPP"):
            segmentation.recognise(others)
    assert not segmentation.holds(shapes)


def test_an_auxiliary_head_is_left_out_of_a_network_without_one_and_nothing_else():
    spec = tiny_segmenter(auxiliary_channels=0)
    weights = draw_weights(tiny_segmenter())
    assert list(segmentation.fit(weights, spec, spec.tensors())) == list(spec.tensors())
    with pytest.raises(ValueError, match=r"missing: auxiliary_head\.conv_seg\.weight"):
        segmentation.fit(draw_weights(spec), tiny_segmenter(), tiny_segmenter().tensors())


def test_weights_of_another_network_say_the_way_out():
    spec = tiny_segmenter()
    with pytest.raises(ValueError, match="these weights are no segmentation network's, and tiny is a"):
        segmentation.fit({"a": np.zeros(3)}, spec, spec.tensors())
    with pytest.raises(ValueError, match="tell 4 classes apart and tiny 5: build it with num_classes=4"):
        segmentation.fit(draw_weights(tiny_segmenter(num_classes=4)), spec, spec.tensors())
