"""The door to detectron2, which is on no index: a stand-in has the few classes that it touches."""

import dataclasses
import importlib
import json
import sys
import types
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnest import get_spec
from resnest.torch import create_model
from resnest.weights.names.backbone import get_dialect
from resnest.weights.seeded import draw_weights, make_input, make_weight
from tests.support.arrays import relative
from tests.support.paths import FIXTURES


class Registry(dict):
    def register(self):
        return lambda function: self.setdefault(function.__name__, function)


class Conv(nn.Conv2d):
    """detectron2's convolution: with the norm inside, and without bias where there is one."""

    def __init__(self, in_channels, out_channels, size):
        super().__init__(in_channels, out_channels, size, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        return self.norm(super().forward(x))


class FPN(nn.Module):
    """What detectron2's makes of a backbone, with norms: laterals, their sums from coarse to fine, outputs."""

    def __init__(self, bottom_up, in_features, out_channels, norm, top_block, fuse_type):
        super().__init__()
        assert (norm, fuse_type) == ("BN", "sum")
        self.bottom_up, self.in_features, self.top_block = bottom_up, in_features, top_block
        for name in in_features:
            shape = bottom_up.output_shape()[name]
            assert shape.stride == 2 ** int(name[-1])
            setattr(self, f"fpn_lateral{name[-1]}", Conv(shape.channels, out_channels, 1))
            setattr(self, f"fpn_output{name[-1]}", Conv(out_channels, out_channels, 3))

    def forward(self, x):
        stages, above, maps = self.bottom_up(x), 0, {}
        for name in self.in_features[::-1]:
            lateral = getattr(self, f"fpn_lateral{name[-1]}")(stages[name])
            above = lateral + (F.interpolate(above, scale_factor=2.0, mode="nearest") if maps else 0)
            maps[f"p{name[-1]}"] = getattr(self, f"fpn_output{name[-1]}")(above)
        return maps | {"p6": self.top_block(maps["p5"])}


@pytest.fixture
def door(monkeypatch):
    """`resnest.detectron2` on the stand-in."""
    modules = {
        "detectron2": {},
        "detectron2.layers": {
            "ShapeSpec": lambda channels, stride: SimpleNamespace(channels=channels, stride=stride),
            "get_norm": lambda norm, channels: {"BN": nn.BatchNorm2d, "SyncBN": nn.SyncBatchNorm}[norm](channels),
        },
        "detectron2.modeling": {"BACKBONE_REGISTRY": Registry()},
        "detectron2.modeling.backbone": {"Backbone": type("Backbone", (nn.Module,), {})},
        "detectron2.modeling.backbone.fpn": {
            "FPN": FPN,
            "LastLevelMaxPool": lambda: lambda x: F.max_pool2d(x, 1, stride=2),
        },
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "resnest.detectron2", raising=False)
    yield importlib.import_module("resnest.detectron2")
    sys.modules.pop("resnest.detectron2", None)


def config(door, **changes):
    keys = {"DEPTH": 50, "NORM": "BN", "NUM_GROUPS": 1, "RES5_DILATION": 1, "OUT_FEATURES": [*door.STAGES[1:]]}
    resnets = SimpleNamespace(**keys)
    fpn = SimpleNamespace(IN_FEATURES=[*door.STAGES[1:]], OUT_CHANNELS=256, NORM="BN", FUSE_TYPE="sum")
    cfg = SimpleNamespace(MODEL=SimpleNamespace(RESNETS=resnets, FPN=fpn, BACKBONE=SimpleNamespace(FREEZE_AT=2)))
    door.add_resnest_config(cfg)
    vars(resnets).update(changes)
    return cfg


def build(door, name="build_resnest_backbone", **changes):
    registry = sys.modules["detectron2.modeling"].BACKBONE_REGISTRY
    return registry[name](config(door, **changes), SimpleNamespace(channels=3))


@torch.no_grad()
def test_the_forks_weights_give_the_forks_maps(door):
    golden = np.load(FIXTURES / "d2_resnest50_fpn.npz")
    shapes = json.loads((FIXTURES / "d2_resnest50_fpn_tensors.json").read_text())
    model = build(door, "build_resnest_fpn_backbone")
    state = {name: torch.from_numpy(make_weight(name, tuple(shape))) for name, shape in shapes.items()}
    lacking, unknown = model.load_state_dict(state, strict=False)
    assert unknown == []
    assert all(name.endswith("num_batches_tracked") for name in lacking)
    x = torch.from_numpy(make_input(tuple(json.loads(str(golden["meta"]))["input_shape"]))).double()
    model = model.double().eval()
    for name, found in (model.bottom_up(x) | model(x)).items():
        assert relative(found.mean((2, 3)).numpy(), golden[name]) < 1e-13


def test_nothing_up_to_freeze_at_learns(door):
    model = build(door).train()
    assert not model.layer1.training
    assert not model.bn1.training
    assert model.layer2.training
    learning = {name.partition(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning == {"layer2", "layer3", "layer4"}


@torch.no_grad()
def test_a_dilated_res5_is_dilated_from_its_first_block_on_and_pools_nowhere(door):
    model = build(door, RES5_DILATION=2).double().eval()
    spec = model.spec
    assert [block.dilation for block in spec.blocks()][-3:] == [2, 2, 2]
    assert [block.pool_after for block in spec.blocks()][-3:] == [None] * 3
    half = create_model("resnest50", output_stride=16, dilated_pooling="openmmlab", features_only=True)
    assert [block.dilation for block in half.spec.blocks()][-3:] == [1, 2, 2]
    assert model.output_shape()["res5"].stride == 16
    names = get_dialect("detectron2").from_canonical(spec)
    weights = {theirs: torch.from_numpy(make_weight(theirs, spec.tensors()[ours])) for ours, theirs in names.items()}
    model.load_state_dict(weights, strict=False)
    x = torch.from_numpy(make_input((1, 3, 64, 64))).double()
    *_, before = [stage for name, stage in model(x).items() if name == "res4"]
    block = model.layer4[0]
    y = block.relu1(block.bn1(block.conv1(before)))
    splits = F.conv2d(y, block.conv2.conv.weight, padding=2, dilation=2, groups=2)
    assert torch.equal(splits, block.conv2.conv(y))


@pytest.mark.parametrize("depth", [50, 101, 152, 200, 269])
def test_every_depth_of_the_fork_has_its_blocks(door, depth):
    spec = door.spec_of(config(door, DEPTH=depth), 3)
    assert sum(spec.stage_depths) * 3 + 2 == depth
    if depth != 152:
        assert spec.tensors() == get_spec(f"resnest{depth}", num_classes=0).tensors()


def test_more_than_one_split_makes_a_resnest_of_the_forks_plain_values(door):
    plain = config(door, DEEP_STEM=False, AVD=False, AVG_DOWN=False)
    assert door.spec_of(plain, 3) == door.spec_of(config(door), 3)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"RADIX": 4}, {"radix": 4}),
        ({"NUM_GROUPS": 2}, {"cardinality": 2}),
        ({"BOTTLENECK_WIDTH": 40}, {"bottleneck_width": 40}),
        ({"RADIX": 1, "AVD": False}, {"radix": 1, "avd": False}),
        ({"RADIX": 1}, {"radix": 1}),
        ({"RES5_DILATION": 2}, {"output_stride": 16}),
    ],
    ids=str,
)
def test_every_key_is_a_field_of_the_spec(door, changes, fields):
    assert door.spec_of(config(door, **changes), 3) == dataclasses.replace(door.spec_of(config(door), 3), **fields)


def test_a_config_says_the_norms_the_channels_and_what_is_frozen(door):
    registry = sys.modules["detectron2.modeling"].BACKBONE_REGISTRY
    for freeze_at in range(6):
        cfg = config(door, NORM="SyncBN")
        cfg.MODEL.BACKBONE.FREEZE_AT = freeze_at
        model = registry["build_resnest_backbone"](cfg, SimpleNamespace(channels=4))
        assert {type(module) for module in model.modules() if hasattr(module, "running_mean")} == {nn.SyncBatchNorm}
        assert model.conv1[0].in_channels == 4
        parts = [["conv1", "bn1"], ["layer1"], ["layer2"], ["layer3"], ["layer4"]]
        held = {name.partition(".")[0] for name, weight in model.named_parameters() if not weight.requires_grad}
        assert held == {name for part in parts[:freeze_at] for name in part}
    cfg.MODEL.FPN.OUT_CHANNELS, cfg.MODEL.FPN.IN_FEATURES = 64, ["res3", "res5"]
    pyramid = registry["build_resnest_fpn_backbone"](cfg, SimpleNamespace(channels=3))
    assert {name for name, _ in pyramid.named_children() if name.startswith("fpn_")} == {
        f"fpn_{kind}{level}" for kind in ("lateral", "output") for level in (3, 5)
    }
    assert pyramid.fpn_output3.out_channels == 64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"DEPTH": 18}, "MODEL.RESNETS.DEPTH=18 must be one of 50, 101, 152, 200, 269"),
        ({"RADIX": 1, "DEEP_STEM": False}, "MODEL.RESNETS.DEEP_STEM=False must be True for a ResNeSt"),
        ({"RADIX": 1, "AVG_DOWN": False}, "MODEL.RESNETS.AVG_DOWN=False must be True for a ResNeSt"),
        ({"STRIDE_IN_1X1": True}, "MODEL.RESNETS.STRIDE_IN_1X1=True must be False for a ResNeSt"),
        ({"RES5_DILATION": 4}, "MODEL.RESNETS.RES5_DILATION=4 must be 1 or 2"),
    ],
)
def test_a_config_of_no_resnest_is_named(door, changes, message):
    with pytest.raises(ValueError, match=message):
        door.spec_of(config(door, **changes), 3)


def test_the_backbone_is_the_librarys_own(door):
    model = build(door, OUT_FEATURES=["res4", "stem"]).eval()
    model.load_state_dict({n: torch.from_numpy(a) for n, a in draw_weights(model.spec).items()}, strict=False)
    assert model.out_features == ["stem", "res4"]
    x = torch.from_numpy(make_input((1, 3, 64, 64)))
    ours = create_model("resnest50", weights=draw_weights(get_spec("resnest50", num_classes=0)), features_only=True)
    with torch.no_grad():
        found = model(x)
        assert torch.equal(found["res4"], ours.eval()(x)[2])
        folded = model.deploy()
        assert relative(folded(x)["stem"].numpy(), found["stem"].numpy()) < 1e-5
        assert len(folded.frozen()) == len(model.frozen()) == 3


def test_without_detectron2_it_is_one_sentence():
    with pytest.raises(ImportError, match=r"resnest\.detectron2 needs detectron2, and detectron2"):
        importlib.import_module("resnest.detectron2")
