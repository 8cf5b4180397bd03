import pytest

from resnest import ResNeStSpec
from resnest.specs.networks import TASKS
from resnest.weights.recognition import tasks
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny, tiny_detector, tiny_segmenter

NETWORKS = [tiny(), tiny_segmenter(), tiny_detector()]


def test_every_task_that_is_published_is_known():
    assert {task.SPEC for task in tasks.TASKS} == {*TASKS}
    assert tasks.BACKBONE.SPEC is ResNeStSpec  # the last, for it takes what is of no other


@pytest.mark.parametrize("spec", NETWORKS, ids=lambda spec: type(spec).__name__)
def test_a_networks_tensors_are_of_its_task(spec):
    task = tasks.task_of(spec)
    assert task.SPEC is type(spec)
    assert tasks.task_in(spec.tensors()) is task
    assert tasks.recognise(spec.tensors()).tensors() == spec.tensors()
    fitted = tasks.fit(draw_weights(spec), spec, spec.tensors())
    assert list(fitted) == list(spec.tensors())


@pytest.mark.parametrize("spec", NETWORKS, ids=lambda spec: type(spec).__name__)
def test_weights_of_another_task_are_refused(spec):
    for other in NETWORKS:
        if other is not spec:
            with pytest.raises(ValueError, match="tiny"):
                tasks.fit(draw_weights(other), spec, spec.tensors())


def test_tensors_that_a_network_was_given_beside_its_own_keep_their_names():
    spec = tiny_segmenter()
    built = ["decode_head.conv_seg.weight", "backbone.bn1.weight", "extra.weight"]
    names = tasks.own_names(spec, "torch", built)
    assert names == {
        "backbone.stem.7.weight": "backbone.bn1.weight",
        "decode_head.conv_seg.weight": "decode_head.conv_seg.weight",
        "extra.weight": "extra.weight",
    }
