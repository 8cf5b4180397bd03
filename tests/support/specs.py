"""Networks small enough for a test, with everything in them that large ones have."""

from __future__ import annotations

from typing import Any

from resnest import DetectionSpec, ResNeStSpec, SegmentationSpec, get_spec

TINY_BACKBONE = get_spec("resnest14", bottleneck_width=8, stem_width=8, output_stride=8, dilated_pooling="openmmlab")


def tiny(**changes: Any) -> ResNeStSpec:
    fields = {"stage_depths": (1, 2, 1, 1), "bottleneck_width": 8, "stem_width": 8, "num_classes": 5} | changes
    return ResNeStSpec("tiny", **fields)


def tiny_segmenter(head: str = "fcn", **changes: Any) -> SegmentationSpec:
    fields = {"num_classes": 5, "channels": 8, "auxiliary_channels": 4, "backbone": TINY_BACKBONE} | changes
    return SegmentationSpec("tiny", head, **fields)


def tiny_detector(family: str = "faster_rcnn", **changes: Any) -> DetectionSpec:
    """It sees photos of at most 96 by 64 pixels, and with drawn weights it finds something in most of them."""
    backbone = get_spec("resnest14", bottleneck_width=8, stem_width=8)
    sizes = {"num_classes": 5, "channels": 8, "hidden": 16, "box_convs": 2, "mask_convs": 1, "scale": (96, 64)}
    return DetectionSpec("tiny", family, **sizes | {"backbone": backbone} | changes)
