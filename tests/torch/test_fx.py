"""Graphs that torch.fx traces: what quantizers, feature extractors and pruners work on."""

import pytest
import torch
from torchvision.models.feature_extraction import create_feature_extractor

from resnest.torch import ResNeSt, Segmenter, load_weights
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny, tiny_segmenter

FORMS = [{"radix": radix, "deploy": deploy} for radix in (1, 2, 4) for deploy in (False, True)]


def build(train, options=(), **changes):
    spec = tiny(**changes)
    model = ResNeSt(spec, **dict(options))
    load_weights(model, draw_weights(spec))
    return model.train(train)


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("train", [False, True], ids=["predicting", "training"])
def test_a_traced_graph_computes_the_same_without_its_dead_code_and_scripts(form, train):
    model = build(train, **form)
    x = torch.randn(3, 3, 49, 65, generator=torch.Generator().manual_seed(0))
    graph = torch.fx.symbolic_trace(model)
    graph.graph.eliminate_dead_code()
    graph.recompile()
    expected = model(x)
    torch.testing.assert_close(graph(x), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.jit.script(graph)(x), expected, rtol=1e-5, atol=1e-6)


def test_a_traced_graph_drops_blocks_in_training():
    model = build(True, {"dropblock_prob": 0.3, "final_drop": 0.2})
    graph = torch.fx.symbolic_trace(model)
    x = torch.randn(3, 3, 49, 65, generator=torch.Generator().manual_seed(0))
    outputs = []
    for network in (model, graph):
        torch.manual_seed(1)
        outputs.append(network(x))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)
    assert not torch.equal(graph(x), graph(x))


@pytest.mark.parametrize("train", [False, True], ids=["predicting", "training"])
def test_torchvision_extracts_feature_maps(train):
    model = build(train)
    x = torch.randn(2, 3, 49, 65)
    found = create_feature_extractor(model, {"layer1": "fine", "layer4": "deep"})(x)
    assert {name: tuple(map_.shape) for name, map_ in found.items()} == {
        "fine": (2, 256, 13, 17),
        "deep": (2, 2048, 2, 3),
    }
    assert found["deep"].requires_grad


@pytest.mark.parametrize("head", ["fcn", "psp", "aspp", "aspp_sep"])
@pytest.mark.parametrize("train", [False, True], ids=["predicting", "training"])
def test_a_segmenter_is_traced(head, train):
    spec = tiny_segmenter(head, dropout=0.0)
    model = Segmenter(spec)
    load_weights(model, draw_weights(spec))
    model.train(train)
    graph = torch.fx.symbolic_trace(model)
    x = torch.randn(2, 3, 49, 65)
    torch.testing.assert_close(graph(x), model(x), rtol=1e-5, atol=1e-6)


def test_a_batch_of_one_still_says_what_is_wrong():
    with pytest.raises(ValueError, match="batch norm would see one value per channel"):
        build(True)(torch.randn(1, 3, 49, 65))
