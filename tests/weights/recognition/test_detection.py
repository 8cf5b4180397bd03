import dataclasses

import pytest

from resnest import get_detection_spec, list_detection_models
from resnest import weights as weight_files
from resnest.specs.detection.network import FAMILIES
from resnest.weights.recognition import detection
from resnest.weights.recognition.tasks import fit
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny, tiny_detector, tiny_segmenter


@pytest.mark.parametrize("name", list_detection_models())
def test_every_detector_is_recognised_by_its_tensors(name):
    spec = get_detection_spec(name)
    assert weight_files.recognise(spec.tensors()) == spec
    folded = spec.in_form(deploy=True)
    assert weight_files.recognise(folded.tensors()) == folded


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("changes", [{}, {"num_classes": 3}, {"channels": 16, "box_convs": 1}])
def test_a_network_of_ones_own_is_recognised_too(family, changes):
    found = weight_files.recognise(tiny_detector(family, **changes).tensors())
    spec = tiny_detector(family, **changes)
    assert found.tensors() == spec.tensors()
    assert (found.family, found.num_classes) == (family, spec.num_classes)


def test_a_published_network_for_other_classes_keeps_its_numbers_and_not_its_classes():
    spec = get_detection_spec("cascade_rcnn_resnest101_coco", num_classes=3)
    found = weight_files.recognise(spec.tensors())
    assert found == dataclasses.replace(spec, dataset="")


def test_weights_of_another_network_are_one_sentence():
    spec = tiny_detector()

    def load(other):
        fit(draw_weights(other), spec, spec.tensors())

    with pytest.raises(ValueError, match=r"a classification network's, and tiny would find nothing with them"):
        load(tiny())
    with pytest.raises(ValueError, match="these weights are no detector's"):
        load(tiny_segmenter())
    with pytest.raises(ValueError, match="these weights are a cascade_mask_rcnn's, and tiny is a faster_rcnn"):
        load(tiny_detector("cascade_mask_rcnn"))
    with pytest.raises(ValueError, match="tell 7 classes apart and tiny 5: build it with num_classes=7"):
        load(tiny_detector(num_classes=7))
    with pytest.raises(ValueError, match="not those of tiny"):
        load(tiny_detector(channels=16))


def test_tensors_that_are_no_detectors_are_named():
    shapes = tiny_detector().tensors()
    del shapes["roi_head.bbox_head.fc_cls.weight"]
    with pytest.raises(ValueError, match=r"no detector's: 'roi_head.bbox_head.fc_cls.weight' is not among them"):
        detection.recognise(shapes)
    with pytest.raises(ValueError, match="9 anchors at each pixel"):
        detection.recognise(tiny_detector().tensors() | {"rpn_head.rpn_cls.weight": (9, 8, 1, 1)})
