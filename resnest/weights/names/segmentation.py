"""Canonical names of a segmentation network's tensors <-> the names of each dialect.

Canonical are mmsegmentation's names. A dialect is a table of modules that are called
something else, read in both directions; what `resnest.weights.names.backbone` is for a backbone alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from resnest.specs.segmentation.network import HEADS, STEM
from resnest.weights.names.backbone import NOT_WEIGHTS

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class SegmentationDialect:
    """One way to name the tensors of a segmentation network.

    `modules` pairs canonical module names with this dialect's: a `*` stands for the same run of
    characters without a dot on both sides, a `**` for any run. A module in no row keeps its
    name. `norm` has this dialect's words for the tensors of a batch norm. A file is in this dialect
    when it has all tensors in `signs`, behind whatever prefix; `heads` are the heads that the dialect names like this.
    """

    name: str
    signs: tuple[str, ...]
    modules: Rows = ()
    norm: Mapping[str, str] = field(default_factory=dict)
    heads: tuple[str, ...] = HEADS

    def from_canonical(self, names: Iterable[str]) -> dict[str, str]:
        """Canonical name -> this dialect's, for all the tensors of a network."""
        names = list(names)
        norms = {name.removesuffix(".running_var") for name in names if name.endswith(".running_var")}
        translated = {}
        for name in names:
            module, _, tensor = name.rpartition(".")
            word = self.norm.get(tensor, tensor) if module in norms else tensor
            translated[name] = f"{_rename(module, self.modules)}.{word}"
        return translated

    def to_canonical(self, names: Collection[str]) -> dict[str, str]:
        """This dialect's name -> canonical name, for the tensors of the network."""
        prefix = self.prefix_in(names) or ""
        modules = tuple((theirs, ours) for ours, theirs in self.modules)
        words = {theirs: ours for ours, theirs in self.norm.items()}
        translated = {}
        for name in names:
            module, _, tensor = name.removeprefix(prefix).rpartition(".")
            if name.startswith(prefix) and tensor not in NOT_WEIGHTS:
                translated[name] = f"{_rename(module, modules)}.{words.get(tensor, tensor)}"
        return translated

    def prefix_in(self, names: Collection[str]) -> str | None:
        """What a trainer put before every name ("module."), where the signs are there at all."""
        first = self.signs[0]
        for name in names:
            prefix = name.removesuffix(first)
            if name.endswith(first) and prefix[-1:] in ("", ".") and all(prefix + sign in names for sign in self.signs):
                return prefix
        return None


_OURS: Rows = tuple((f"backbone.{theirs}", f"backbone.{ours}") for ours, theirs in STEM.items())
"""The attributes of `resnest.torch`'s and `resnest.gluon`'s networks, where they are not called canonically."""

_SSSEG: Rows = (
    ("backbone.**", "backbone_net.**"),
    ("auxiliary_head.convs.0.conv", "auxiliary_decoder.0"),
    ("auxiliary_head.convs.0.bn", "auxiliary_decoder.1"),
    ("auxiliary_head.conv_seg", "auxiliary_decoder.4"),
)

_SSSEG_FCN: Rows = (
    ("decode_head.convs.0.conv", "decoder.0"),
    ("decode_head.convs.0.bn", "decoder.1"),
    ("decode_head.convs.1.conv", "decoder.3"),
    ("decode_head.convs.1.bn", "decoder.4"),
    ("decode_head.conv_seg", "decoder.7"),
)

_SSSEG_PSP: Rows = (
    ("decode_head.psp_modules.*.1.conv", "ppm_net.branches.*.1"),
    ("decode_head.psp_modules.*.1.bn", "ppm_net.branches.*.2"),
    ("decode_head.bottleneck.conv", "ppm_net.bottleneck.0"),
    ("decode_head.bottleneck.bn", "ppm_net.bottleneck.1"),
    ("decode_head.conv_seg", "decoder.1"),
)

_SSSEG_ASPP: Rows = (
    ("decode_head.image_pool.1.conv", "aspp_net.global_branch.1"),
    ("decode_head.image_pool.1.bn", "aspp_net.global_branch.2"),
    ("decode_head.aspp_modules.*.conv", "aspp_net.parallel_branches.*.0"),
    ("decode_head.aspp_modules.*.bn", "aspp_net.parallel_branches.*.1"),
    ("decode_head.bottleneck.conv", "aspp_net.bottleneck.0"),
    ("decode_head.bottleneck.bn", "aspp_net.bottleneck.1"),
)

_SSSEG_ASPP_SEP: Rows = (
    ("decode_head.aspp_modules.*.depthwise_conv.conv", "aspp_net.parallel_branches.*.depthwise_conv"),
    ("decode_head.aspp_modules.*.depthwise_conv.bn", "aspp_net.parallel_branches.*.depthwise_bn"),
    ("decode_head.aspp_modules.*.pointwise_conv.conv", "aspp_net.parallel_branches.*.pointwise_conv"),
    ("decode_head.aspp_modules.*.pointwise_conv.bn", "aspp_net.parallel_branches.*.pointwise_bn"),
    ("decode_head.c1_bottleneck.conv", "shortcut.0"),
    ("decode_head.c1_bottleneck.bn", "shortcut.1"),
    ("decode_head.sep_bottleneck.*.depthwise_conv.conv", "decoder.*.depthwise_conv"),
    ("decode_head.sep_bottleneck.*.depthwise_conv.bn", "decoder.*.depthwise_bn"),
    ("decode_head.sep_bottleneck.*.pointwise_conv.conv", "decoder.*.pointwise_conv"),
    ("decode_head.sep_bottleneck.*.pointwise_conv.bn", "decoder.*.pointwise_bn"),
    ("decode_head.conv_seg", "decoder.3"),
)


HEAD_SIGNS = {
    "aspp_sep": "decode_head.c1_bottleneck.conv.weight",
    "aspp": "decode_head.image_pool.1.conv.weight",
    "psp": "decode_head.psp_modules.0.1.conv.weight",
    "fcn": "decode_head.convs.0.conv.weight",
}
"""A tensor of each head that none of the heads after it has."""


def _sssegmentation(head: str, sign: str, *rows: tuple[str, str]) -> SegmentationDialect:
    """sssegmentation numbers a decoder's modules, so each kind of head has a table of its own."""
    signs = ("backbone_net.stem.0.weight", sign)
    return SegmentationDialect("sssegmentation", signs, (*_SSSEG, *rows), heads=(head,))


DIALECTS = (
    SegmentationDialect("mmsegmentation", ("backbone.stem.0.weight", "decode_head.conv_seg.weight")),
    SegmentationDialect(
        "gluon",  # what `save_parameters` writes for a network of `resnest.gluon`
        ("backbone.bn1.gamma", "decode_head.conv_seg.weight"),
        modules=(*_OURS, ("backbone.layer*.*.conv2.bn0", "backbone.layer*.*.conv2.bn")),
        norm={"weight": "gamma", "bias": "beta"},
    ),
    SegmentationDialect(  # the state dict of a network of `resnest.torch`
        "torch", ("backbone.bn1.weight", "decode_head.conv_seg.weight"), modules=_OURS
    ),
    _sssegmentation("fcn", "decoder.7.weight", *_SSSEG_FCN),
    _sssegmentation("psp", "ppm_net.bottleneck.0.weight", *_SSSEG_PSP),
    _sssegmentation("aspp_sep", "shortcut.0.weight", *_SSSEG_ASPP, *_SSSEG_ASPP_SEP),
    _sssegmentation("aspp", "aspp_net.bottleneck.0.weight", *_SSSEG_ASPP, ("decode_head.conv_seg", "decoder.1")),
)
"""Every dialect, in the order in which their signs are looked for."""


ALIASES = {"openmmlab": "mmsegmentation"}
"""What a backbone's dialect is called that a segmentation network has under another name."""


def get_dialect(name: str, head: str) -> SegmentationDialect:
    """How the dialect called `name` names networks with this `head`; ValueError for one that does not exist."""
    for dialect in DIALECTS:
        if dialect.name == ALIASES.get(name, name) and head in dialect.heads:
            return dialect
    known = dict.fromkeys(dialect.name for dialect in DIALECTS)
    raise ValueError(f"there is no dialect {name!r} for segmentation networks; known are {', '.join(known)}")


def detect_dialect(names: Collection[str]) -> SegmentationDialect | None:
    """The dialect that `names` are written in; None where they are of no network with one of our heads."""
    for dialect in DIALECTS:
        if dialect.prefix_in(names) is not None:
            canonical = dialect.to_canonical(names).values()
            return dialect if any(sign in canonical for sign in HEAD_SIGNS.values()) else None
    return None


def _rename(module: str, rows: Iterable[tuple[str, str]]) -> str:
    for source, target in rows:
        match = re.fullmatch(re.escape(source).replace(r"\*\*", "(.+)").replace(r"\*", r"([^.]+)"), module)
        if match:
            return re.sub(r"\*+", "{}", target).format(*match.groups())
    return module
