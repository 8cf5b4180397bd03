"""The dialects in which the weights of segmentation networks exist. Canonical is `mmsegmentation`."""

from __future__ import annotations

from collections.abc import Collection

from resnest.specs.segmentation.network import HEADS, SegmentationSpec
from resnest.specs.with_backbone import STEM
from resnest.weights.names.dialect import Dialect, get
from resnest.weights.names.patterns import Rows

OURS: Rows = tuple((f"backbone.{theirs}", f"backbone.{ours}") for ours, theirs in STEM.items())
"""The attributes of `resnest.torch`'s and `resnest.gluon`'s networks, where they are not called canonically."""

_SSSEG: Rows = (
    ("backbone.{rest...}", "backbone_net.{rest...}"),
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
    ("decode_head.psp_modules.{index}.1.conv", "ppm_net.branches.{index}.1"),
    ("decode_head.psp_modules.{index}.1.bn", "ppm_net.branches.{index}.2"),
    ("decode_head.bottleneck.conv", "ppm_net.bottleneck.0"),
    ("decode_head.bottleneck.bn", "ppm_net.bottleneck.1"),
    ("decode_head.conv_seg", "decoder.1"),
)

_SSSEG_ASPP: Rows = (
    ("decode_head.image_pool.1.conv", "aspp_net.global_branch.1"),
    ("decode_head.image_pool.1.bn", "aspp_net.global_branch.2"),
    ("decode_head.aspp_modules.{index}.conv", "aspp_net.parallel_branches.{index}.0"),
    ("decode_head.aspp_modules.{index}.bn", "aspp_net.parallel_branches.{index}.1"),
    ("decode_head.bottleneck.conv", "aspp_net.bottleneck.0"),
    ("decode_head.bottleneck.bn", "aspp_net.bottleneck.1"),
)

_SSSEG_ASPP_SEP: Rows = (
    ("decode_head.aspp_modules.{index}.depthwise_conv.conv", "aspp_net.parallel_branches.{index}.depthwise_conv"),
    ("decode_head.aspp_modules.{index}.depthwise_conv.bn", "aspp_net.parallel_branches.{index}.depthwise_bn"),
    ("decode_head.aspp_modules.{index}.pointwise_conv.conv", "aspp_net.parallel_branches.{index}.pointwise_conv"),
    ("decode_head.aspp_modules.{index}.pointwise_conv.bn", "aspp_net.parallel_branches.{index}.pointwise_bn"),
    ("decode_head.c1_bottleneck.conv", "shortcut.0"),
    ("decode_head.c1_bottleneck.bn", "shortcut.1"),
    ("decode_head.sep_bottleneck.{index}.depthwise_conv.conv", "decoder.{index}.depthwise_conv"),
    ("decode_head.sep_bottleneck.{index}.depthwise_conv.bn", "decoder.{index}.depthwise_bn"),
    ("decode_head.sep_bottleneck.{index}.pointwise_conv.conv", "decoder.{index}.pointwise_conv"),
    ("decode_head.sep_bottleneck.{index}.pointwise_conv.bn", "decoder.{index}.pointwise_bn"),
    ("decode_head.conv_seg", "decoder.3"),
)


HEAD_SIGNS = {
    "aspp_sep": "decode_head.c1_bottleneck.conv.weight",
    "aspp": "decode_head.image_pool.1.conv.weight",
    "psp": "decode_head.psp_modules.0.1.conv.weight",
    "fcn": "decode_head.convs.0.conv.weight",
}
"""A tensor of each head that none of the heads after it has."""


def _sssegmentation(head: str, sign: str, *rows: tuple[str, str]) -> Dialect:
    """sssegmentation numbers a decoder's modules, so each kind of head has a table of its own."""
    signs = ("backbone_net.stem.0.weight", sign)
    return Dialect("sssegmentation", signs, (*_SSSEG, *rows), heads=(head,), any_form=True)


DIALECTS = (
    Dialect("mmsegmentation", ("backbone.stem.0.weight", "decode_head.conv_seg.weight"), heads=HEADS, any_form=True),
    Dialect(
        "gluon",  # what `save_parameters` writes for a network of `resnest.gluon`
        ("backbone.bn1.gamma", "decode_head.conv_seg.weight"),
        modules=(*OURS, ("backbone.layer{stage}.{block}.conv2.bn0", "backbone.layer{stage}.{block}.conv2.bn")),
        norm={"weight": "gamma", "bias": "beta"},
        heads=HEADS,
        any_form=True,
    ),
    Dialect(  # the state dict of a network of `resnest.torch`
        "torch", ("backbone.bn1.weight", "decode_head.conv_seg.weight"), modules=OURS, heads=HEADS, any_form=True
    ),
    _sssegmentation("fcn", "decoder.7.weight", *_SSSEG_FCN),
    _sssegmentation("psp", "ppm_net.bottleneck.0.weight", *_SSSEG_PSP),
    _sssegmentation("aspp_sep", "shortcut.0.weight", *_SSSEG_ASPP, *_SSSEG_ASPP_SEP),
    _sssegmentation("aspp", "aspp_net.bottleneck.0.weight", *_SSSEG_ASPP, ("decode_head.conv_seg", "decoder.1")),
)
"""Every dialect, in the order in which their signs are looked for."""


CANONICAL = "mmsegmentation"
"""The dialect whose names are the canonical ones."""

ALIASES = {"openmmlab": "mmsegmentation"}
"""What a backbone's dialect is called that a segmentation network has under another name."""


def get_dialect(name: str, spec: SegmentationSpec) -> Dialect:
    """How the dialect called `name` names the network `spec`; ValueError for one that does not exist."""
    dialect = get([dialect for dialect in DIALECTS if spec.head in dialect.heads], ALIASES, name)
    if dialect is None:
        known = dict.fromkeys(dialect.name for dialect in DIALECTS)
        raise ValueError(f"there is no dialect {name!r} for segmentation networks; known are {', '.join(known)}")
    return dialect


def detect_dialect(names: Collection[str]) -> Dialect | None:
    """The dialect that `names` are written in; None where they are of no network with one of our heads."""
    for dialect in DIALECTS:
        if dialect.speaks(names):
            canonical = dialect.to_canonical(names).values()
            return dialect if any(sign in canonical for sign in HEAD_SIGNS.values()) else None
    return None
