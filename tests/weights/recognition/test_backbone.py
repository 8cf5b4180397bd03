import pytest
from hypothesis import given, settings

from resnest import get_spec, list_models, weights
from tests.support.strategies import specs

SAME_TENSORS = {"resnest50_fast_2s1x64d": "resnest50"}


@pytest.mark.parametrize("name", list_models())
def test_a_variant_is_recognised_by_its_tensors(name):
    spec = get_spec(name)
    assert weights.recognise(spec.tensors()) == get_spec(SAME_TENSORS.get(name, name))


@settings(deadline=None)
@given(specs())
def test_any_network_is_recognised_by_its_tensors(spec):
    assert weights.recognise(spec.tensors()).tensors() == spec.tensors()


def test_a_checkpoint_with_other_classes_and_channels_is_recognised():
    spec = get_spec("resnest101", num_classes=10, in_channels=1)
    assert weights.recognise(spec.tensors()) == spec
