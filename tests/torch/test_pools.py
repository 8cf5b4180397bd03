"""Strided poolings by themselves: scripted, and exported with sizes that are fixed or open."""

import pytest
import torch

from resnest.torch.layers.basic import AvgPool2d, MaxPool2d

POOLS = {
    "average": AvgPool2d(3, 2, 1),
    "average without what hangs over": AvgPool2d(2, 2, 0, ceil_mode=True, count_include_pad=False),
    "largest": MaxPool2d(3, 2, 1),
}
IMAGE = torch.randn(1, 3, 33, 40, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_scripted_it_gives_the_same(pool):
    assert torch.equal(torch.jit.script(pool)(IMAGE), pool(IMAGE))


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_exported_with_open_sizes_it_takes_any(pool):
    sizes = {2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(pool, (IMAGE,), dynamic_shapes=(sizes,)).module()
    for height, width in ((33, 40), (34, 41), (35, 64)):
        image = torch.randn(1, 3, height, width)
        assert torch.allclose(program(image), pool(image), atol=1e-6)


@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_exported_with_fixed_sizes_it_pools_no_more_than_it_keeps(pool):
    called = torch.export.export(pool, (IMAGE,)).graph.find_nodes
    assert not called(op="call_function", target=torch.ops.aten.slice.Tensor)
