"""The device that a backend computes on: one that this machine does not have is one sentence."""

import re

import pytest

from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny_segmenter


def test_the_processor_is_always_there(backend):
    assert "cpu" in str(backend.probe.device_of("cpu"))


@pytest.mark.parametrize("name", ["cuda:999", "gpu:999", "meta", "nonsense", "gpu(0)", "cpu:x", "cuda:-1", ""])
def test_a_device_that_does_not_compute_is_named(backend, name):
    with pytest.raises(ValueError, match=re.escape(f"cannot compute on {name!r} here, as it can on cpu: ")):
        backend.probe.device_of(name)


def test_a_network_is_not_built_for_one(backend):
    with pytest.raises(ValueError, match="cannot compute on 'cuda:999' here"):
        backend.probe.predictor(tiny_segmenter(), draw_weights(tiny_segmenter()), "cuda:999")
