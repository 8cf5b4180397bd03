import dataclasses

import pytest
from hypothesis import given, settings

from resnest import get_spec, list_models, weights
from resnest.weights.recognition import backbone
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny
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


def test_tensors_of_something_else_are_one_sentence():
    with pytest.raises(ValueError, match=r"^these tensors are no ResNeSt's: 'conv1.weight' is not as in one$"):
        backbone.recognise({"encoder": (3,)})
    broken = tiny().tensors() | {"layer1.0.conv2.conv.weight": (0, 0, 3, 3)}
    with pytest.raises(ValueError, match="no ResNeSt's"):
        backbone.recognise(broken)


def test_a_deploy_form_is_told_by_a_bias_that_stands_for_a_norm():
    folded = dataclasses.replace(get_spec("resnest26"), deploy=True)
    assert backbone.is_folded(folded.tensors())
    assert not backbone.is_folded(get_spec("resnest26").tensors())
    assert backbone.recognise(folded.tensors()) == folded


def test_a_network_takes_what_it_was_built_with_and_all_of_it():
    spec = tiny(num_classes=0)
    weights = draw_weights(tiny())
    kept = backbone.fit(weights, spec, spec.tensors())
    assert list(kept) == list(spec.tensors())
    two_stages = {name: shape for name, shape in spec.tensors().items() if not name.startswith(("layer3", "layer4"))}
    assert list(backbone.fit(weights, spec, two_stages)) == list(two_stages)
    del weights["layer2.1.bn1.bias"]
    with pytest.raises(ValueError, match=r"those of tiny; missing: layer2\.1\.bn1\.bias$"):
        backbone.fit(weights, spec, spec.tensors())
    with pytest.raises(ValueError, match=r"those of tiny; unknown: neck\.weight$"):
        backbone.fit(draw_weights(tiny()) | {"neck.weight": weights["bn1.bias"]}, spec, spec.tensors())
