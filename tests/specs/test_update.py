"""The update rule in numbers: which tensors decay, at which rate, and which stay."""

from math import prod

import pytest

from resnest import get_spec
from resnest.specs.update import UpdateRule, frozen_norms, frozen_tensors, layer_rates, norms_and_biases, trained
from tests.support.specs import tiny

SPEC = get_spec("resnest50")


def test_what_is_trained_are_the_parameters():
    assert sum(prod(SPEC.tensors()[name]) for name in trained(SPEC)) == 27_483_240


def test_every_norm_is_among_those_without_decay_the_stem_s_and_the_shortcut_s_too():
    undecayed = norms_and_biases(SPEC)
    norms = {layer.norm for layer in SPEC.layers() if layer.norm}
    assert {f"{norm}.{tensor}" for norm in norms for tensor in ("weight", "bias")} <= undecayed
    assert {"conv1.1.weight", "layer1.0.downsample.2.weight", "fc.bias", "layer1.0.conv2.fc1.bias"} <= undecayed
    assert not {"conv1.0.weight", "fc.weight", "layer1.0.conv2.fc1.weight"} & undecayed


def test_rates_fall_block_by_block_from_the_classifier_down():
    rates = layer_rates(tiny(stage_depths=(1, 2, 1, 1)), 0.5)
    assert rates["fc.weight"] == 1
    assert rates["layer4.0.conv1.weight"] == 0.5
    assert rates["layer2.1.bn1.bias"] == 0.125
    assert rates["layer2.0.conv1.weight"] == 0.0625
    assert rates["layer1.0.downsample.1.weight"] == 0.03125
    assert rates["conv1.0.weight"] == rates["bn1.weight"] == 0.015625
    assert set(layer_rates(SPEC, 1.0).values()) == {1.0}


def test_stages_freeze_from_the_stem_up():
    assert frozen_tensors(SPEC, 0) == frozenset()
    assert {name.partition(".")[0] for name in frozen_tensors(SPEC, 2)} == {"conv1", "bn1", "layer1"}
    assert frozen_tensors(SPEC, 5) == {name for name in trained(SPEC) if not name.startswith("fc.")}
    norms = frozen_tensors(SPEC, 0, norms=True)
    assert "layer4.2.conv2.bn1.bias" in norms
    assert not {"fc.bias", "layer1.0.conv2.fc1.bias"} & norms
    assert frozen_norms(SPEC, 1) == ("conv1.1", "conv1.4", "bn1")
    assert set(frozen_norms(SPEC, 0, norms=True)) == {layer.norm for layer in SPEC.layers() if layer.norm}


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ({"momentum": 1.0}, "momentum=1.0 must be at least 0 and below 1"),
        ({"momentum": 0.0, "nesterov": True}, "give a momentum above 0"),
        ({"decay": -1.0}, "decay=-1.0 must be at least 0"),
        ({"clip": 0.0}, "clip=0.0 must be above 0"),
    ],
    ids=str,
)
def test_numbers_that_make_no_rule_are_refused(numbers, sentence):
    with pytest.raises(ValueError, match=sentence):
        UpdateRule(**numbers)


def test_what_is_no_stage_or_no_share_is_refused():
    with pytest.raises(ValueError, match="freeze_stages=6 must be from 0"):
        frozen_tensors(SPEC, 6)
    with pytest.raises(ValueError, match="layer_decay=0 must be above 0"):
        layer_rates(SPEC, 0)
