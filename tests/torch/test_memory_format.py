"""On a CPU a network computes many pixels channels last; whoever holds its weights, or looks into it, need not know."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad

from resnest.torch.layers import basic
from resnest.torch.networks.detection.network import Detector
from resnest.torch.networks.resnest import ResNeStFeatures
from resnest.torch.networks.segmentation import Segmenter
from tests.support.backends import Backend
from tests.support.specs import tiny, tiny_detector, tiny_segmenter

LAST = torch.channels_last


def network(**changes):
    return Backend("torch").build(tiny(**changes)).eval()


def images(count=2, side=64, **options):
    return torch.rand(count, 3, side, side, **options)


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch):
    monkeypatch.setattr(basic, "MANY_PIXELS", 2 * 64 * 64)
    monkeypatch.setattr(basic, "MANY_PIXELS_IN_GROUPS", 64 * 64)


@pytest.fixture
def computed_in(monkeypatch):
    """The memory formats that convolutions over a few pixels have got, as `channels_last` or not, by model."""

    def formats(run, *given):
        seen = set()

        def note(module, inputs):
            if isinstance(module, nn.Conv2d) and inputs[0].shape[1] > 1 and min(inputs[0].shape[2:]) > 1:
                seen.add(inputs[0].is_contiguous(memory_format=LAST))

        hook = nn.modules.module.register_module_forward_pre_hook(note)
        try:
            with torch.no_grad():
                run(*given)
        finally:
            hook.remove()
        return seen

    return formats


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_many_pixels_are_computed_channels_last(computed_in, dtype):
    model = network().to(dtype)
    for run in (model, model.forward_features, model.forward_stages, model.forward_intermediates):
        assert computed_in(run, images(dtype=dtype)) == {True}


def test_a_detector_is_computed_channels_last_from_the_pixels_to_the_masks(computed_in):
    model = Detector(tiny_detector("cascade_mask_rcnn", score_threshold=0.0)).eval()
    photos = [np.zeros((64, 96, 3), np.uint8)] * 2
    assert computed_in(model, images(2)) == {True}
    assert computed_in(model.predict, photos) == {True}
    assert computed_in(model.double(), images(2).double()) == {False}


@pytest.mark.parametrize(
    ("given", "dtype"), [(images(1), torch.float32), (images(2).double(), torch.float64)], ids=["few", "float64"]
)
def test_few_pixels_and_float64_stay_as_they_are(computed_in, given, dtype):
    assert computed_in(network().to(dtype), given) == {False}


def segmenter():
    return Segmenter(tiny_segmenter()).eval()


def detector():
    return Detector(tiny_detector()).eval()


def maps_of(model, x):
    """Whatever feature maps and logits a caller can ask `model` for."""
    if isinstance(model, Detector):
        return [*model.forward_stages(x), *model.forward_pyramid(x)]
    if isinstance(model, Segmenter):
        return [*model.forward_stages(x), model(x), model.predict(x)]
    if isinstance(model, ResNeStFeatures):
        return model(x)
    last, taken = model.forward_intermediates(x)
    return [last, *taken, model.forward_features(x), *model.forward_stages(x)]


@pytest.mark.parametrize("build", [network, lambda: ResNeStFeatures(tiny()).eval(), segmenter, detector])
def test_maps_lie_as_the_images_do(build):
    model = build()
    with torch.no_grad():
        for form in (model, model.deploy(), copy.deepcopy(model).to(memory_format=LAST)):
            for count in (1, 2):
                assert all(one.is_contiguous() for one in maps_of(form, images(count)))
        for one in model.forward_stages(images().to(memory_format=LAST)):
            assert one.is_contiguous(memory_format=LAST)


def test_weights_and_gradients_stay_contiguous():
    model = network().train()
    model(images()).sum().backward()
    tensors = [*model.state_dict().values(), *(parameter.grad for parameter in model.parameters())]
    assert all(tensor.is_contiguous() for tensor in tensors)


def test_networks_in_groups_take_fewer_pixels_for_many(computed_in):
    model = network(cardinality=2)
    assert computed_in(model, images(1)) == {True}
    assert computed_in(model, images(1, 63)) == {False}


def test_numbers_stay_what_they_were():
    model, x = network(), images()
    with torch.no_grad():
        laid_out, again = model(x), model(x)
        model.many_pixels = 10**12
        expected = model(x)
    assert torch.equal(laid_out, again)
    torch.testing.assert_close(laid_out, expected, rtol=2e-6, atol=2e-6)


def test_graphs_lay_nothing_out_and_take_other_sizes(computed_in):
    model = network()
    x, others = images(), torch.rand(3, 3, 71, 96)
    batch, height, width = (torch.export.Dim.AUTO for _ in range(3))
    program = torch.export.export(model, (x,), dynamic_shapes=({0: batch, 2: height, 3: width},)).module()
    graphs = [torch.jit.script(model), torch.jit.trace(model, (x,)), torch.fx.symbolic_trace(model), program]
    with torch.no_grad():
        for graph in graphs:
            assert "permute" not in str(graph.graph)
            for some in (x, others):
                torch.testing.assert_close(graph(some), model(some), rtol=1e-4, atol=1e-4)


def test_who_compiles_a_network_decides_by_itself():
    seen = []
    model = torch.compile(network(), backend=lambda graph, _: seen.append(str(graph.graph)) or graph.forward)
    with torch.no_grad():
        model(images())
    assert seen
    assert not any("permute" in graph for graph in seen)


def test_mixed_precision_and_data_parallel_networks_are_computed_channels_last(computed_in):
    model = network()
    with torch.autocast("cpu", torch.bfloat16):
        assert computed_in(model, images()) == {True}
    assert computed_in(nn.DataParallel(model), images()) == {True}


def test_gradients_for_each_sample_are_those_of_batches_of_one():
    model = network()
    state, statistics = dict(model.named_parameters()), dict(model.named_buffers())

    def loss(state, image):
        return functional_call(model, (state, statistics), (image[None],)).square().sum()

    x = torch.rand(2, 3, 128, 64)
    together = torch.vmap(grad(loss), (None, 0))(state, x)
    for number, image in enumerate(x):
        for name, gradient in grad(loss)(state, image).items():
            torch.testing.assert_close(together[name][number], gradient, rtol=1e-3, atol=1e-3)
