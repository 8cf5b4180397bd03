"""Whole networks trained in half precision: under autocast, and with every weight in bfloat16."""

import pytest
import torch
import torch.nn.functional as F

from tests.support.backends import Backend
from tests.support.specs import tiny, tiny_segmenter

FORMS = [{"radix": 1}, {"radix": 2}, {"radix": 4, "cardinality": 2}, {"avd_first": True, "output_stride": 8}]
# The least cosine between a gradient and the float32 one. Of these small networks, rounding the weights to bfloat16
# and computing in float32 leaves 0.97 to 0.997 of it.
DIRECTION = {torch.bfloat16: 0.94, torch.float16: 0.995}


def build(spec, **options):
    return Backend("torch").build(spec, **options).train()


def images(n=4, size=64):
    return torch.randn((n, 3, size, size), generator=torch.Generator().manual_seed(0))


def gradient(model, x, dtype=None):
    """The loss and the gradient of all parameters in one vector, with autocast to `dtype`."""
    with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        outputs = model(x)
    maps = outputs if isinstance(outputs, (tuple, list)) else [outputs]
    targets = [torch.arange(one[:, 0].numel()).reshape(one[:, 0].shape) % one.shape[1] for one in maps]
    loss = torch.stack([F.cross_entropy(one.float(), t) for one, t in zip(maps, targets, strict=True)]).sum()
    loss.backward()
    return loss.detach(), torch.cat([parameter.grad.float().flatten() for parameter in model.parameters()])


def alike(a, b):
    return float(F.cosine_similarity(a, b, dim=0))


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("dtype", DIRECTION, ids=str)
def test_autocast_changes_the_digits_and_neither_weights_nor_statistics(form, dtype):
    exact, expected = gradient(build(tiny(**form)), images())
    model = build(tiny(**form))
    loss, found = gradient(model, images(), dtype)
    assert 0 < abs(loss - exact) < 0.01 * exact
    assert DIRECTION[dtype] < alike(found, expected) < 1
    floating = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    assert {tensor.dtype for tensor in floating} == {torch.float32}


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_network_in_bfloat16_has_the_gradient_of_the_one_in_float32(form):
    exact, expected = gradient(build(tiny(**form)), images())
    model = build(tiny(**form)).bfloat16()
    loss, found = gradient(model, images().bfloat16())
    assert abs(loss - exact) < 0.01 * exact
    assert alike(found, expected) > DIRECTION[torch.bfloat16]
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_a_network_in_bfloat16_learns_and_drops_blocks():
    torch.manual_seed(0)
    model = build(tiny(), dropblock_prob=0.1, final_drop=0.1).bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        losses.append(gradient(model, images().bfloat16())[0])
        optimizer.step()
    assert min(losses[-3:]) < 0.9 * losses[0]


@pytest.mark.parametrize("head", ["fcn", "psp", "aspp", "aspp_sep"])
@pytest.mark.parametrize("way", ["autocast", "bfloat16"])
def test_a_segmenter_trains_in_half_precision(head, way):
    spec = tiny_segmenter(head, dropout=0.0)
    exact, expected = gradient(build(spec), images())
    model = build(spec)
    if way == "autocast":
        loss, found = gradient(model, images(), torch.bfloat16)
    else:
        loss, found = gradient(model.bfloat16(), images().bfloat16())
    assert abs(loss - exact) < 0.01 * exact
    assert alike(found, expected) > DIRECTION[torch.bfloat16]
