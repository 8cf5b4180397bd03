"""The dialects in which the weights of detectors exist. Canonical is `mmdetection`."""

from __future__ import annotations

from collections.abc import Collection

from resnest.specs.detection.network import DetectionSpec
from resnest.weights.names.dialect import Dialect, get
from resnest.weights.names.segmentation import OURS

BOX_HEAD = "roi_head.bbox_head"
CASCADE = "roi_head.bbox_head.0"

_RPN = "rpn_head.rpn_conv.weight"
_HEADS = tuple(f"{prefix}.shared_convs.0.conv.weight" for prefix in (BOX_HEAD, CASCADE))

DIALECTS = (
    Dialect("mmdetection", ("backbone.stem.0.weight", _RPN), any_form=True),
    Dialect(
        "gluon",  # what `save_parameters` writes for a network of `resnest.gluon`
        ("backbone.bn1.gamma", _RPN),
        modules=(*OURS, ("backbone.layer{stage}.{block}.conv2.bn0", "backbone.layer{stage}.{block}.conv2.bn")),
        norm={"weight": "gamma", "bias": "beta"},
        any_form=True,
    ),
    # The state dict of a network of `resnest.torch`, and of one of mmdetection's on `resnest.openmmlab`'s backbone.
    Dialect("torch", ("backbone.layer1.0.conv1.weight", _RPN), modules=OURS, any_form=True),
)
"""Every dialect, in the order in which their signs are looked for."""

CANONICAL = "mmdetection"
"""The dialect whose names are the canonical ones."""

ALIASES = {"openmmlab": "mmdetection"}
"""What a backbone's dialect is called that a detector has under another name."""


def get_dialect(name: str, spec: DetectionSpec | None = None) -> Dialect:
    """The dialect called `name`; ValueError for one that does not exist. It is the same for every `spec`."""
    dialect = get(DIALECTS, ALIASES, name)
    if dialect is None:
        known = ", ".join(dialect.name for dialect in DIALECTS)
        raise ValueError(f"there is no dialect {name!r} for detectors; known are {known}")
    return dialect


def detect_dialect(names: Collection[str]) -> Dialect | None:
    """The dialect that `names` are written in; None where they are of no detector with our heads."""
    for dialect in DIALECTS:
        if dialect.speaks(names):
            return dialect if set(dialect.to_canonical(names).values()) & {*_HEADS} else None
    return None
