import dataclasses
import re

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from resnest import ResNeStSpec, get_spec, list_models
from resnest.specs.blocks import PoolSpec, SplitAttentionSpec
from resnest.specs.published import ALIASES
from resnest.specs.resnest import check_out_indices
from tests.support.strategies import specs

PARAMETERS = {
    "resnest14": 10_611_688,
    "resnest26": 17_069_448,
    "resnest50": 27_483_240,
    "resnest101": 48_275_016,
    "resnest200": 70_201_544,
    "resnest269": 110_929_480,
    "resnest50_fast_1s1x64d": 26.3e6,
    "resnest50_fast_2s1x64d": 27.5e6,
    "resnest50_fast_4s1x64d": 31.9e6,
    "resnest50_fast_1s2x40d": 25.9e6,
    "resnest50_fast_2s2x40d": 26.9e6,
    "resnest50_fast_4s2x40d": 30_417_592,
    "resnest50_fast_1s4x24d": 25_677_000,
}


def test_the_thirteen_published_networks_are_listed():
    assert list_models() == list(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_variant_has_the_published_number_of_parameters(name):
    published = PARAMETERS[name]
    counted = get_spec(name).cost(224).parameters
    if isinstance(published, int):
        assert counted == published
    else:  # published in millions
        assert counted == pytest.approx(published, abs=0.1e6)


@pytest.mark.parametrize("alias", ALIASES)
def test_timms_names_are_aliases(alias):
    assert get_spec(alias) == get_spec(ALIASES[alias])


def test_get_spec_replaces_fields():
    spec = get_spec("resnest50", num_classes=10, output_stride=8)
    assert (spec.num_classes, spec.output_stride) == (10, 8)
    assert dataclasses.replace(spec, num_classes=1000, output_stride=32) == get_spec("resnest50")


def test_an_unknown_name_is_answered_with_the_closest_ones():
    with pytest.raises(ValueError, match=r"no model called 'resnest_50'; did you mean resnest50 "):
        get_spec("resnest_50")


def test_an_unknown_field_is_answered_with_the_closest_one():
    with pytest.raises(TypeError, match=r"no argument 'radixes'; did you mean radix"):
        get_spec("resnest50", radixes=4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("radix", 0),
        ("radix", True),
        ("radix", 2.0),
        ("cardinality", -1),
        ("bottleneck_width", 0),
        ("stem_width", "32"),
        ("stage_depths", (3, 4, 0, 3)),
        ("stage_depths", (3, 4, 6)),
        ("output_stride", 4),
        ("num_classes", -1),
        ("in_channels", 0),
        ("deep_stem", 1),
        ("avd_first", None),
        ("dilated_pooling", "none"),
        ("norm_eps", 1.5),
        ("norm_momentum", True),
        ("norm_momentum", "0.1"),
    ],
)
def test_a_value_that_makes_no_network_is_named(field, value):
    with pytest.raises(ValueError, match=field) as error:
        get_spec("resnest50", **{field: value})
    shown = value[2] if value == (3, 4, 0, 3) else value
    assert repr(shown) in str(error.value)


def test_channels_that_cannot_be_cut_into_groups_are_an_error():
    with pytest.raises(ValueError, match=re.escape("64 channels cannot be cut into cardinality * radix = 1 * 3")):
        get_spec("resnest50", radix=3)
    with pytest.raises(ValueError, match="cardinality=3 does not divide the 32 attention channels"):
        SplitAttentionSpec(96, radix=1, cardinality=3)


@pytest.mark.parametrize("field", ["channels", "radix", "cardinality", "stride", "dilation"])
def test_a_value_that_makes_no_split_attention_is_named(field):
    with pytest.raises(ValueError, match=f"{field}=0 must be a whole number"):
        SplitAttentionSpec(**{"channels": 64, field: 0})


def test_blocks_of_resnest50_are_those_of_the_paper():
    blocks = list(get_spec("resnest50").blocks())
    assert [block.stage for block in blocks] == [1] * 3 + [2] * 4 + [3] * 6 + [4] * 3
    assert [block.in_channels for block in blocks if block.index == 0] == [64, 256, 512, 1024]
    assert [block.group_width for block in blocks if block.index == 0] == [64, 128, 256, 512]
    assert [block.attention_channels for block in blocks if block.index == 0] == [32, 64, 128, 256]
    assert [block.out_channels for block in blocks if block.index == 0] == [256, 512, 1024, 2048]
    assert [block.stride for block in blocks if block.index == 0] == [1, 2, 2, 2]
    assert {block.stride for block in blocks if block.index > 0} == {1}


def test_average_pooling_stands_after_split_attention_and_before_it_where_avd_first():
    def pools(spec):
        return [(b.name, b.pool_before, b.pool_after) for b in spec.blocks() if b.pool_before or b.pool_after]

    pool = PoolSpec(3, 2, padding=1)
    assert pools(get_spec("resnest14")) == [(f"layer{s}.0", None, pool) for s in (2, 3, 4)]
    assert pools(get_spec("resnest14", avd_first=True)) == [(f"layer{s}.0", pool, None) for s in (2, 3, 4)]
    assert pools(get_spec("resnest14", avd=False)) == []
    assert pool.count_include_pad  # as PyTorch's AvgPool2d does, unless it is asked not to


def test_a_shortcut_strides_by_its_pool_or_itself():
    def strides(spec):
        return [(b.projection.stride, b.projection_pool and b.projection_pool.stride) for b in spec.blocks()]

    pooled, plain = get_spec("resnest14"), get_spec("resnest14", avg_down=False)
    first = next(pooled.blocks()).projection_pool
    assert (first.ceil_mode, first.count_include_pad) == (True, False)
    assert strides(pooled) == [(1, 1), (1, 2), (1, 2), (1, 2)]
    assert strides(plain) == [(1, None), (2, None), (2, None), (2, None)]
    assert (pooled.minimum_size, plain.minimum_size) == (17, 1)  # a 2x2 pool needs two pixels of stride 16


def test_every_convolution_of_the_deploy_form_has_a_bias_and_no_norm():
    tensors = [name.rpartition(".") for name in get_spec("resnest26", deploy=True).tensors()]
    assert [(layer, kind) for layer, _, kind in tensors[::2]] == [(layer, "weight") for layer, _, kind in tensors[1::2]]
    assert {kind for _, _, kind in tensors[1::2]} == {"bias"}


@pytest.mark.parametrize(
    ("output_stride", "strides", "dilations"),
    [
        (32, [1, 2, 2, 2], [(1, 1), (1, 1), (1, 1), (1, 1)]),
        (16, [1, 2, 2, 1], [(1, 1), (1, 1), (1, 1), (1, 2)]),
        (8, [1, 2, 1, 1], [(1, 1), (1, 1), (1, 2), (2, 4)]),
    ],
)
def test_late_stages_are_dilated_and_their_first_block_by_half(output_stride, strides, dilations):
    spec = get_spec("resnest26", output_stride=output_stride)
    blocks = list(spec.blocks())
    assert [block.stride for block in blocks[::2]] == strides
    assert [(a.dilation, b.dilation) for a, b in zip(blocks[::2], blocks[1::2])] == dilations
    assert spec.feature_strides[-1] == output_stride


def test_a_dilated_stage_keeps_its_3x3_pooling_only_in_the_authors_networks():
    kept = [b.pool_after for b in get_spec("resnest14", output_stride=8).blocks()]
    dropped = [b.pool_after for b in get_spec("resnest14", output_stride=8, dilated_pooling="openmmlab").blocks()]
    assert kept[2:] == [PoolSpec(3, 1, padding=1)] * 2
    assert dropped == [None, PoolSpec(3, 2, padding=1), None, None]


def test_tensors_come_in_the_order_of_the_published_checkpoints():
    names = list(get_spec("resnest14").tensors())
    assert names[:6] == [
        "conv1.0.weight",
        *(f"conv1.1.{t}" for t in ("weight", "bias", "running_mean", "running_var")),
        "conv1.3.weight",
    ]
    modules = [
        name.removesuffix(".weight") for name in names if name.startswith("layer1.0.") and name.endswith(".weight")
    ]
    assert [module.removeprefix("layer1.0.") for module in modules] == [
        *("conv1", "bn1", "conv2.conv", "conv2.bn0", "conv2.fc1", "conv2.bn1", "conv2.fc2", "conv3", "bn3"),
        *("downsample.1", "downsample.2"),
    ]
    assert names[-2:] == ["fc.weight", "fc.bias"]


@given(specs())
def test_any_valid_spec_has_consistent_shapes(spec: ResNeStSpec):
    shapes = spec.tensors()
    before = spec.stem_channels
    for block in spec.blocks():
        assert block.in_channels == before
        assert shapes[f"{block.name}.conv1.weight"] == (block.group_width, before, 1, 1)
        assert block.group_width % (spec.radix * spec.cardinality) == 0
        assert block.attention_channels % spec.cardinality == 0
        assert (block.projection is not None) == (block.index == 0)
        before = block.out_channels
    assert before == spec.feature_channels[-1]
    assert ("fc.weight" in shapes) == (spec.num_classes > 0)
    assert all(length > 0 for shape in shapes.values() for length in shape)


@given(specs(), st.integers(1, 80), st.integers(1, 80))
def test_an_image_is_refused_or_every_stage_has_the_size_its_stride_says(spec, height, width):
    if min(height, width) < spec.minimum_size:
        with pytest.raises(ValueError, match=f"{height}x{width} pixels is too small"):
            spec.cost(height, width)
        return
    for shape, channels, stride in zip(
        spec.cost(height, width).stages.values(), spec.feature_channels, spec.feature_strides
    ):
        assert shape == (channels, -(-height // stride), -(-width // stride))


def test_out_indices_are_checked():
    assert check_out_indices((0, 3)) == [0, 3]
    assert check_out_indices((2, -1, 0)) == [2, 4, 0]
    assert check_out_indices(2) == [3, 4]
    assert check_out_indices(np.array([-1, 2])) == [4, 2]
    for wrong in [(), (5,), (-6,), (1, 1), (4, -1), 0, 6, -1, ("1",), "1", (1.0,), 1.5, None]:
        with pytest.raises(ValueError, match=re.escape(f"out_indices={wrong!r} must be different numbers")):
            check_out_indices(wrong)


def test_every_published_network_has_pytorchs_norms():
    assert {(get_spec(name).norm_eps, get_spec(name).norm_momentum) for name in list_models()} == {(1e-5, 0.1)}
