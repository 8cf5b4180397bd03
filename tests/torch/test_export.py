"""What PyTorch makes of the network: TorchScript, exported programs, compiled code."""

import warnings

import pytest
import torch

from resnest.torch import ResNeSt, ResNeStFeatures, load_weights
from resnest.torch.export import read, write
from resnest.weights.seeded import draw_weights
from tests.support.specs import tiny

SPECS = [
    tiny(),
    tiny(output_stride=8),
    tiny(radix=1, cardinality=2, avd_first=True),
    tiny(avg_down=False, avd=False, deep_stem=False),
]

pytestmark = pytest.mark.parametrize("spec", SPECS, ids=["plain", "dilated", "radix 1", "strided"])


@pytest.fixture
def model(spec):
    model = ResNeSt(spec, dropblock_prob=0.1).eval()
    load_weights(model, draw_weights(spec))
    return model


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def close(a, b):
    return torch.allclose(a, b, rtol=1e-5, atol=1e-5 * float(b.detach().abs().max()))


def test_scripted_it_takes_any_size(model):
    scripted = torch.jit.script(model)
    for shape in ((1, 3, 64, 64), (2, 3, 47, 81)):
        assert close(scripted(images(*shape)), model(images(*shape)))


def test_scripted_it_trains(model):
    scripted = torch.jit.script(model).train()
    scripted(images(2, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in scripted.parameters())
    with pytest.raises(torch.jit.Error, match="more than 1 value per channel"):
        scripted(images(1, 3, 64, 64))


def test_traced_it_takes_any_size(model):
    traced = torch.jit.trace(model, images(1, 3, 64, 64))
    assert close(traced(images(2, 3, 47, 81)), model(images(2, 3, 47, 81)))


NAMED = {
    0: torch.export.Dim("batch"),
    2: torch.export.Dim("height", min=33, max=2048),
    3: torch.export.Dim("width", min=33, max=2048),
}
# With sizes that have names, PyTorch below 2.9 asks for proofs that it cannot find.
OPEN = NAMED if torch.__version__ >= (2, 9) else dict.fromkeys(NAMED, torch.export.Dim.AUTO)


def test_exported_it_takes_any_batch_height_and_width(model):
    program = torch.export.export(model, (images(2, 3, 65, 97),), dynamic_shapes={"x": OPEN}).module()
    for shape in ((1, 3, 64, 64), (3, 3, 47, 81), (2, 3, 33, 34)):
        assert close(program(images(*shape)), model(images(*shape)))


def test_exported_with_fixed_sizes_it_pools_with_strides(model):
    program = torch.export.export(model, (images(1, 3, 64, 64),))
    # With a step: older PyTorch slices the attention's weights too, from end to end.
    assert not [node for node in program.graph.nodes if "slice" in str(node.target) and len(node.args) > 4]
    assert close(program.module()(images(1, 3, 64, 64)), model(images(1, 3, 64, 64)))


def test_compiled_it_gives_the_same(model):
    compiled = torch.compile(model, backend="aot_eager")
    with torch.no_grad():
        assert close(compiled(images(2, 3, 64, 49)), model(images(2, 3, 64, 49)))


def test_a_backbone_can_be_scripted_and_exported(spec):
    backbone = ResNeStFeatures(spec, out_indices=(1, 3)).eval()
    scripted = torch.jit.script(backbone)
    program = torch.export.export(backbone, (images(1, 3, 64, 64),)).module()
    maps = backbone(images(1, 3, 64, 64))
    for other in (scripted, program):
        assert all(close(a, b) for a, b in zip(other(images(1, 3, 64, 64)), maps, strict=True))


def test_who_asks_for_torchscript_is_not_told_at_each_call_that_it_is_old(spec, tmp_path):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        write(spec, draw_weights(spec), tmp_path / "a.pt", "torchscript")
        read(tmp_path / "a.pt", "torchscript")
    assert [str(one.message) for one in said if "torch.jit" in str(one.message)] == []
