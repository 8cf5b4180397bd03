import dataclasses

import pytest

from resnest import get_segmentation_spec, list_segmentation_models
from resnest.specs.segmentation.network import HEADS
from resnest.weights.seeded import make_input
from tests.support.backends import Backend
from tests.support.specs import TINY_BACKBONE, tiny_segmenter
from tests.support.toolboxes import toolbox_tensors


@pytest.mark.parametrize("method", ["fcn", "deeplabv3plus"])
def test_tensors_are_mmsegmentations_in_its_order(method):
    tensors = get_segmentation_spec(f"{method}_resnest101_ade20k").tensors()
    assert list(tensors.items()) == list(toolbox_tensors("mmseg", method).items())


def test_there_are_twenty_networks_with_a_variant_for_each_toolbox_and_data_set():
    assert len(list_segmentation_models()) == 20
    ours, theirs = (get_segmentation_spec(f"deeplabv3_resnest101_ade20k{toolbox}") for toolbox in ("", "_ssseg"))
    assert (ours.auxiliary_channels, theirs.auxiliary_channels) == (256, 512)
    assert (ours.pooled_first, theirs.pooled_first) == (True, False)
    assert get_segmentation_spec("pspnet_resnest101_voc").num_classes == 21


@pytest.mark.parametrize("head", HEADS)
def test_costs_count_what_prediction_runs(head):
    from torch.utils.flop_counter import FlopCounterMode

    spec = tiny_segmenter(head)
    backend = Backend("torch")
    model = backend.build(spec, dtype="float32")
    with FlopCounterMode(display=False) as counter:
        logits = model(backend.array(make_input((1, 3, 65, 97))))
    cost = spec.cost(65, 97)
    assert 2 * cost.macs == counter.get_total_flops()
    assert cost.stages["logits"] == tuple(logits.shape[1:])
    pools = [row.name.split(".")[1] for row in cost.layers if row.name.startswith("decode_head") and "pool" in row.kind]
    assert pools == {"fcn": [], "psp": ["psp_modules"] * 4}.get(head, ["image_pool"])
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "pspnet"}, "head='pspnet' must be one of fcn, psp, aspp, aspp_sep"),
        ({"channels": 0}, "channels=0 must be a whole number"),
        ({"backbone": dataclasses.replace(TINY_BACKBONE, deep_stem=False)}, "deep_stem and avg_down"),
    ],
)
def test_values_that_make_no_network_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(tiny_segmenter(), **changes)


def test_unknown_names_say_what_was_probably_meant():
    with pytest.raises(ValueError, match=r"did you mean .*fcn_resnest101_voc"):
        get_segmentation_spec("fcn_resnest101_vocs")
    with pytest.raises(TypeError, match="num_classes"):
        get_segmentation_spec("fcn_resnest101_voc", classes=3)
