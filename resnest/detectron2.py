"""Our backbone in detectron2: importing this registers `build_resnest_backbone` and `build_resnest_fpn_backbone`.

`add_resnest_config(cfg)` adds the keys of the authors' fork (https://github.com/chongruo/detectron2-ResNeSt) to a
config, and `cfg.MODEL.BACKBONE.NAME = "build_resnest_fpn_backbone"` asks for it. Backbones of the
fork's checkpoints, its detectors' too, load under its own names.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from resnest.specs.published import VARIANTS
from resnest.specs.resnest import ResNeStSpec
from resnest.torch.networks.resnest import ResNeStFeatures
from resnest.weights.names.backbone import get_dialect

try:
    from detectron2.layers import ShapeSpec, get_norm
    from detectron2.modeling import BACKBONE_REGISTRY
    from detectron2.modeling.backbone import Backbone
    from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
except ModuleNotFoundError as error:
    raise ImportError(f"resnest.detectron2 needs detectron2, and {error.name} is not installed") from error

STAGES = ("stem", "res2", "res3", "res4", "res5")
"""detectron2's names of the feature maps."""

FORK: dict[str, Any] = {
    "STRIDE_IN_1X1": False,
    "DEEP_STEM": True,
    "AVD": True,
    "AVG_DOWN": True,
    "RADIX": 2,
    "BOTTLENECK_WIDTH": 64,
}
"""The fork's keys in `MODEL.RESNETS`, and their values for a ResNeSt."""

DEPTHS = {152: (3, 8, 36, 3)} | {depth: VARIANTS[f"resnest{depth}"].stage_depths for depth in (50, 101, 200, 269)}
"""Blocks in each stage, by `MODEL.RESNETS.DEPTH`."""


def add_resnest_config(cfg: Any) -> None:
    """Add the fork's keys to a config, or set them where it has them, as a ResNeSt has them."""
    for key, value in FORK.items():
        setattr(cfg.MODEL.RESNETS, key, value)


def spec_of(cfg: Any, in_channels: int) -> ResNeStSpec:
    """The backbone that a config asks for; ValueError, naming the key, for one that is no ResNeSt."""
    keys = cfg.MODEL.RESNETS
    fork = {key: getattr(keys, key, value) for key, value in FORK.items()}
    if fork["RADIX"] > 1:  # as in the fork, which has a plain ResNet's values for the others
        fork |= {"DEEP_STEM": True, "AVD": True, "AVG_DOWN": True}
    for key, value in {"STRIDE_IN_1X1": False, "DEEP_STEM": True, "AVG_DOWN": True}.items():
        if fork[key] != value:
            raise ValueError(f"MODEL.RESNETS.{key}={fork[key]!r} must be {value} for a ResNeSt")
    if keys.DEPTH not in DEPTHS:
        raise ValueError(f"MODEL.RESNETS.DEPTH={keys.DEPTH!r} must be one of {', '.join(map(str, sorted(DEPTHS)))}")
    if keys.RES5_DILATION not in (1, 2):
        raise ValueError(f"MODEL.RESNETS.RES5_DILATION={keys.RES5_DILATION!r} must be 1 or 2")
    return ResNeStSpec(
        f"resnest{keys.DEPTH}",
        DEPTHS[keys.DEPTH],
        radix=fork["RADIX"],
        cardinality=keys.NUM_GROUPS,
        bottleneck_width=fork["BOTTLENECK_WIDTH"],
        stem_width=32 if keys.DEPTH == 50 else 64,
        avd=fork["AVD"],
        output_stride=32 // keys.RES5_DILATION,
        dilated_pooling="detectron2",
        in_channels=in_channels,
        num_classes=0,
    )


class ResNeSt(ResNeStFeatures, Backbone):
    """A ResNeSt backbone: (N, in_channels, H, W) -> a dict of the feature maps of `out_features`, "stem" to "res5".

    Nothing up to `freeze_at` learns, as in detectron2: 0 freezes nothing, 1 the stem, 2 the stem and res2, ...
    """

    def __init__(self, spec: ResNeStSpec, *, out_features: Any = ("res5",), freeze_at: int = 0, **options: Any):
        indices = sorted(STAGES.index(name) for name in out_features)
        super().__init__(spec, out_indices=indices, **options)
        self.out_features = [STAGES[index] for index in indices]
        self.freeze_at = freeze_at
        for part in self.frozen():
            part.requires_grad_(False)
        self._register_load_state_dict_pre_hook(partial(_rename, _fork_names(self.spec)))

    def frozen(self) -> list[nn.Module]:
        """The parts that do not learn."""
        parts = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]
        return [self.get_submodule(part) for part in parts[: self.freeze_at and self.freeze_at + 1]]

    def rebuilt(self, spec: ResNeStSpec) -> ResNeSt:
        return type(self)(spec, out_features=self.out_features, freeze_at=self.freeze_at)

    def train(self, mode: bool = True) -> ResNeSt:
        """Go into training mode, but for what is frozen."""
        super().train(mode)
        for part in self.frozen():
            part.eval()
        return self

    def forward(self, x: Tensor) -> dict[str, Tensor]:  # type: ignore[override]  # as detectron2's backbones do
        maps: Any = super().forward(x)
        return dict(zip(self.out_features, maps))

    def output_shape(self) -> dict[str, Any]:
        """Channels and stride of each feature map."""
        rows = zip(self.out_features, self.feature_channels, self.feature_strides)
        return {name: ShapeSpec(channels=channels, stride=stride) for name, channels, stride in rows}


def _fork_names(spec: ResNeStSpec) -> dict[str, str]:
    """The fork's name of each tensor -> ours."""
    names = get_dialect("detectron2").from_canonical(spec)
    return {theirs: ours for ours, theirs in names.items()}


def _rename(names: dict[str, str], state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
    """The fork's names become ours, in a state dict on its way in."""
    for name in list(state):
        ours = names.get(name.removeprefix(prefix))
        if name.startswith(prefix) and ours is not None:
            state[f"{prefix}{ours}"] = state.pop(name)


def _norm_layer(norm: str) -> Callable[[int], nn.Module]:
    return lambda channels: get_norm(norm, channels)


@BACKBONE_REGISTRY.register()
def build_resnest_backbone(cfg: Any, input_shape: Any) -> ResNeSt:
    """The backbone of a config: its keys are detectron2's and the fork's."""
    return ResNeSt(
        spec_of(cfg, input_shape.channels),
        out_features=cfg.MODEL.RESNETS.OUT_FEATURES,
        freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT,
        norm_layer=_norm_layer(cfg.MODEL.RESNETS.NORM),
    )


@BACKBONE_REGISTRY.register()
def build_resnest_fpn_backbone(cfg: Any, input_shape: Any) -> Any:
    """detectron2's feature pyramid on that backbone."""
    return FPN(
        bottom_up=build_resnest_backbone(cfg, input_shape),
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
