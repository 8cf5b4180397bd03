import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from resnest import get_spec, list_models
from resnest.torch import ResNeSt

MODEL_INDEX_FLOPS = {
    "resnest14": 3548594464,
    "resnest26": 4678918720,
    "resnest50": 6937106336,
    "resnest101": 17423183648,
    "resnest200": 45954387872,
    "resnest269": 100830307104,
    "resnest50_fast_1s4x24d": 5686764544,
    "resnest50_fast_4s2x40d": 5657064720,
}

MACS = {
    "resnest14": 2749405184,
    "resnest26": 3623391232,
    "resnest50": 5371160576,
    "resnest101": 13321472000,
    "resnest200": 35519694848,
    "resnest269": 77348702208,
    "resnest50_fast_1s4x24d": 4399827456,
    "resnest50_fast_4s2x40d": 4369060736,
}


@pytest.mark.parametrize("name", MODEL_INDEX_FLOPS)
def test_the_model_index_figures_come_out_to_the_last_digit(name):
    spec = get_spec(name)
    size = spec.image_size
    assert spec.cost(size, int(size * 1546 / 1213)).model_index_flops == MODEL_INDEX_FLOPS[name]


@pytest.mark.parametrize("name", MACS)
def test_the_usual_count_comes_out_to_the_last_digit(name):
    spec = get_spec(name)
    assert spec.cost(spec.image_size).macs == MACS[name]


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("output_stride", [32, 8])
def test_pytorchs_own_counter_agrees(name, output_stride):
    spec = get_spec(name, output_stride=output_stride)
    with torch.device("meta"):
        model, image = ResNeSt(spec).eval(), torch.empty(1, 3, 97, 130)
    with FlopCounterMode(display=False) as counter:
        stages = model.forward_stages(image)
        model.forward_head(stages[-1])
    cost = spec.cost(97, 130)
    assert 2 * cost.macs == counter.get_total_flops()
    assert [tuple(stage.shape[1:]) for stage in stages] == list(cost.stages.values())


def test_parts_add_up():
    cost = get_spec("resnest14").cost(64)
    assert cost.macs == sum(layer.macs for layer in cost.layers)
    assert cost.linear_macs == 2048 * 1000
    assert cost.global_pool_inputs == 2048 * 2 * 2
    assert cost.global_pool_outputs == 2048
    assert cost.conv_biases == sum(layer.outputs for layer in cost.layers if ".fc" in layer.name)
    assert cost.activations == sum(layer.outputs for layer in cost.layers if layer.kind in ("conv", "linear"))


def test_a_poolings_row_counts_its_input_and_output():
    layers = {layer.name: layer for layer in get_spec("resnest14", stem_width=8).cost(64).layers}
    pools = {name: (layer.inputs, layer.shape) for name, layer in layers.items() if layer.kind == "pool"}
    assert pools["layer2.0.pool_after"] == (128 * 16 * 16, (128, 8, 8))
    assert pools["layer2.0.downsample.0"] == (256 * 16 * 16, (256, 8, 8))


def test_a_network_without_a_classifier_costs_no_linear_macs():
    assert get_spec("resnest14", num_classes=0).cost(64).linear_macs == 0
