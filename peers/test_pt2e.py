"""PT2E quantization: what torchao makes of an exported program of ours, beside what it makes of timm's."""

import pytest
import torch
from timm.models.resnest import ResNestBottleneck
from timm.models.resnet import ResNet
from torchao.quantization.pt2e import move_exported_model_to_eval
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e, prepare_qat_pt2e
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)

from resnest import ResNeStSpec
from resnest.torch import ResNeSt, load_weights
from resnest.weights.seeded import draw_weights

SPEC = ResNeStSpec("narrow", (1, 1, 1, 1), bottleneck_width=16, stem_width=8, num_classes=10)
BATCH = {"x": {0: torch.export.Dim("batch")}}


def ours():
    model = ResNeSt(SPEC)
    load_weights(model, draw_weights(SPEC))
    return model.eval()


def timms():
    block = {"radix": 2, "avd": True, "avd_first": False}
    stem = {"stem_type": "deep", "stem_width": SPEC.stem_width, "avg_down": True}
    model = ResNet(ResNestBottleneck, [1, 1, 1, 1], 10, base_width=SPEC.bottleneck_width, block_args=block, **stem)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in draw_weights(SPEC).items()}, strict=False)
    return model.eval()


def images(count, seed):
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def quantizer(is_qat=False):
    return X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config(is_qat=is_qat))


def quantized(model):
    prepared = prepare_pt2e(torch.export.export(model, (images(2, 0),), dynamic_shapes=BATCH).module(), quantizer())
    with torch.no_grad():
        for seed in range(3):
            prepared(images(2, seed))
    return move_exported_model_to_eval(convert_pt2e(prepared))


def error(model, exact):
    with torch.no_grad():
        answer = exact(images(5, 1))
        return float((model(images(5, 1)) - answer).norm() / answer.norm())


def convolutions(model):
    """How many there are, and how many of them take numbers that were in INT8."""
    nodes = [node for node in model.graph.nodes if node.target is torch.ops.aten.conv2d.default]
    return len(nodes), sum("dequantize" in str(node.args[0].target) for node in nodes)


@pytest.mark.parametrize("form", ["training form", "deploy form"])
def test_it_is_as_right_as_timms(form):
    model = ours() if form == "training form" else ours().deploy()
    assert torch.allclose(model(images(2, 0)), timms()(images(2, 0)), rtol=1e-3, atol=1e-4)
    mine, theirs = quantized(model), quantized(timms())
    assert convolutions(mine) == convolutions(theirs)
    print(convolutions(mine), error(mine, model), error(theirs, timms()))
    assert 0 < error(mine, model) < 1.2 * error(theirs, timms()) < 0.1


def test_it_trains_with_int8_in_mind():
    model = ours().train()
    program = torch.export.export(model, (images(2, 0),), dynamic_shapes=BATCH).module()
    prepared = prepare_qat_pt2e(program, quantizer(is_qat=True))
    optimizer = torch.optim.SGD(prepared.parameters(), 0.01)
    labels = torch.tensor([1, 2, 3, 4])
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(prepared(images(4, 0)), labels)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    move_exported_model_to_eval(prepared)
    with torch.no_grad():
        trained = prepared(images(5, 1))
    assert error(convert_pt2e(prepared), lambda x: trained) < 0.02
