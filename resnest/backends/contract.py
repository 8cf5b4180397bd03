"""What timm's users ask every network of theirs, answered out of ours' spec.

timm's models are a contract that trainers, feature extractors and toolboxes rely on: names of properties and
methods (timm/models/resnet.py and `build_model_with_cfg`). The part that asks for numbers is here, for every
backend; the part that computes is in each backend's `ResNeSt`. Where timm's word differs from ours, both work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from resnest.backends.vocabulary import pool_name
from resnest.specs import protocols
from resnest.specs.blocks import GLOBAL_POOLS
from resnest.specs.resnest import MEAN, STD, ResNeStSpec, check_out_indices


class FeatureInfo:
    """What the feature maps of a backbone are: one row each, with `num_chs`, `reduction` (its stride) and `module`."""

    def __init__(self, rows: Sequence[dict[str, Any]], out_indices: Sequence[int]):
        self.info = list(rows)
        self.out_indices = tuple(out_indices)

    def __len__(self) -> int:
        return len(self.info)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.info[index]

    def get(self, key: str, idx: int | Sequence[int] | None = None) -> Any:
        """What `key` is of each map that comes out; with `idx`, of that map or those, whether they come out or not."""
        if isinstance(idx, int):
            return self.info[idx][key]
        return [self.info[index][key] for index in (self.out_indices if idx is None else idx)]

    def get_dicts(self, keys: Sequence[str] | None = None, idx: int | Sequence[int] | None = None) -> Any:
        """The rows of the maps as in `get`, or these `keys` of them."""

        def row(index: int) -> dict[str, Any]:
            return {key: self.info[index][key] for key in keys or self.info[index]}

        if isinstance(idx, int):
            return row(idx)
        return [row(index) for index in (self.out_indices if idx is None else idx)]

    def channels(self, idx: int | Sequence[int] | None = None) -> Any:
        return self.get("num_chs", idx)

    def reduction(self, idx: int | Sequence[int] | None = None) -> Any:
        """Input pixels per pixel of each map."""
        return self.get("reduction", idx)

    def module_name(self, idx: int | Sequence[int] | None = None) -> Any:
        return self.get("module", idx)


class Contract:
    """timm's words for what a network's spec says."""

    __jit_unused_properties__ = (  # what TorchScript is not to read
        "num_classes",
        "num_features",
        "head_hidden_size",
        "in_chans",
        "global_pool",
        "drop_rate",
        "feature_info",
        "pretrained_cfg",
        "default_cfg",
    )

    if TYPE_CHECKING:  # TorchScript would read them at run time
        spec: ResNeStSpec
        drop: Any
        _given_cfg: Any

    _given_cfg = None
    last_stage = 4
    """The last stage that is there: after `prune_intermediate_layers` it may be an earlier one."""

    @property
    def num_classes(self) -> int:
        return self.spec.num_classes

    @property
    def num_features(self) -> int:
        """Channels of the last feature map."""
        return self.spec.feature_channels[self.last_stage]

    @property
    def head_hidden_size(self) -> int:
        """Numbers that the classifier sees of an image."""
        return self.num_features * (2 if self.global_pool == "catavgmax" else 1)

    @property
    def in_chans(self) -> int:
        return self.spec.in_channels

    @property
    def global_pool(self) -> str:
        return self.spec.global_pool

    @property
    def drop_rate(self) -> float:
        """The probability of the dropout before the classifier."""
        return dropout_probability(self.drop)

    @property
    def feature_info(self) -> Any:
        """Channels, stride and module of each map of `forward_intermediates`: first the stem, before its pooling."""
        return intermediates(self.spec)

    @property
    def pretrained_cfg(self) -> Any:
        """What timm's data code asks: input size, crop, interpolation, mean and standard deviation."""
        return self._given_cfg or default_cfg(self.spec)

    @pretrained_cfg.setter
    def pretrained_cfg(self, cfg: Any) -> None:
        self._given_cfg = cfg

    @property
    def default_cfg(self) -> Any:
        """timm's older word for `pretrained_cfg`."""
        return self.pretrained_cfg

    @default_cfg.setter
    def default_cfg(self, cfg: Any) -> None:
        self._given_cfg = cfg

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Patterns of parameters' names, for learning rates by depth: the stem, and the stages or their blocks."""
        return {"stem": r"^conv1|bn1", "blocks": r"^layer(\d+)" if coarse else r"^layer(\d+)\.(\d+)"}

    def no_weight_decay(self) -> set[str]:
        """Parameters that must not decay beside norms and biases: none."""
        return set()


def dropout_probability(layer: Any) -> float:
    """What `layer`, a dropout of PyTorch's or MXNet's or nothing, drops with."""
    return float(getattr(layer, "p", getattr(layer, "_rate", 0.0)))


def intermediates(spec: ResNeStSpec) -> list[dict[str, Any]]:
    """What the maps of `forward_intermediates` are: the stem before its pooling, at stride 2, and the stages."""
    names = ("relu", "layer1", "layer2", "layer3", "layer4")
    strides = (2, *spec.feature_strides[1:])
    rows = zip(spec.feature_channels, strides, names)
    return [{"num_chs": channels, "reduction": stride, "module": name} for channels, stride, name in rows]


def features(spec: ResNeStSpec, out_indices: Sequence[int]) -> FeatureInfo:
    """What the maps of a backbone built with `features_only` are: index 0 is the stem after its pooling."""
    first = {"num_chs": spec.stem_channels, "reduction": spec.feature_strides[0], "module": "maxpool"}
    return FeatureInfo([first, *intermediates(spec)[1:]], out_indices)


def take_indices(indices: int | Sequence[int] | None, last_stage: int) -> list[int]:
    """The maps of `forward_intermediates` that are asked for: all up to `last_stage`, the last so many, or these.

    Raises ValueError for an index that there is not.
    """
    wanted = check_out_indices(range(last_stage + 1) if indices is None else indices, "indices")
    if max(wanted) > last_stage:
        raise ValueError(f"indices={indices!r} asks for stage {max(wanted)} of a network that ends with {last_stage}")
    return wanted


def next_pool(spec: ResNeStSpec, num_classes: int, asked: str | None) -> str:
    """The global pooling of a network that gets `num_classes`: the one `asked` for, or its own, or what they need."""
    if asked is not None:
        return pool_name(asked)
    return spec.global_pool or (GLOBAL_POOLS[0] if num_classes else "")


def check_format(output_fmt: str) -> None:
    """Raise ValueError for a layout that no map comes in."""
    if output_fmt != "NCHW":
        raise ValueError(f"output_fmt={output_fmt!r}: feature maps come as NCHW")


def default_cfg(spec: ResNeStSpec) -> dict[str, Any]:
    """timm's `pretrained_cfg` of the network: how its published weights see a photo, and what its ends are called.

    The crop is that of `protocols.DEFAULT` as a share of the short side, which timm's own transform follows to
    within a pixel; `resnest verify` follows it to the bit.
    """
    prepared = protocols.preparation(protocols.DEFAULT, spec.image_size, spec.name)
    _, *pool_size = spec.cost(spec.image_size).stages["layer4"]
    return {
        "architecture": spec.name,
        "num_classes": spec.num_classes,
        "input_size": (spec.in_channels, spec.image_size, spec.image_size),
        "pool_size": tuple(pool_size),
        "crop_pct": round(prepared.share, 4),
        "crop_mode": "center",
        "interpolation": prepared.resampling.rpartition("-")[-1],
        "mean": MEAN,
        "std": STD,
        "first_conv": spec.stem()[0].name,
        "classifier": "fc",
        "license": "apache-2.0",
    }
