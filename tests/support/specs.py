"""Networks small enough for a test, with everything in them that large ones have."""

from __future__ import annotations

from typing import Any

from resnest import ResNeStSpec, SegmentationSpec, get_spec

TINY_BACKBONE = get_spec("resnest14", bottleneck_width=8, stem_width=8, output_stride=8, dilated_pooling="openmmlab")


def tiny(**changes: Any) -> ResNeStSpec:
    fields = {"stage_depths": (1, 2, 1, 1), "bottleneck_width": 8, "stem_width": 8, "num_classes": 5} | changes
    return ResNeStSpec("tiny", **fields)


def tiny_segmenter(head: str = "fcn", **changes: Any) -> SegmentationSpec:
    fields = {"num_classes": 5, "channels": 8, "auxiliary_channels": 4, "backbone": TINY_BACKBONE} | changes
    return SegmentationSpec("tiny", head, **fields)
