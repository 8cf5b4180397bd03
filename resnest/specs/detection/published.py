"""The published detectors by name."""

from __future__ import annotations

from typing import Any

from resnest.specs.arguments import closest, with_changes
from resnest.specs.detection.network import FAMILIES, DetectionSpec
from resnest.specs.published import get_spec


def _published(family: str, backbone: str) -> DetectionSpec:
    name = f"{family}_{backbone}_coco"
    return DetectionSpec(name, family, dataset="coco", backbone=get_spec(backbone, num_classes=0))


DETECTION_VARIANTS: dict[str, DetectionSpec] = {
    spec.name: spec
    for spec in (_published(family, backbone) for family in FAMILIES for backbone in ("resnest50", "resnest101"))
}
"""The published detectors, by name."""

PUBLISHED_AP: dict[str, tuple[float, ...]] = {
    "faster_rcnn_resnest50_coco": (42.0,),
    "faster_rcnn_resnest101_coco": (44.5,),
    "mask_rcnn_resnest50_coco": (42.6, 38.1),
    "mask_rcnn_resnest101_coco": (45.2, 40.2),
    "cascade_rcnn_resnest50_coco": (44.5,),
    "cascade_rcnn_resnest101_coco": (46.8,),
    "cascade_mask_rcnn_resnest50_coco": (45.4, 39.5),
    "cascade_mask_rcnn_resnest101_coco": (47.7, 41.4),
}
"""Average precision of boxes, and of masks, in percent, that mmdetection gives for each on COCO's val2017."""


def list_detection_models() -> list[str]:
    """Names of the published detectors."""
    return list(DETECTION_VARIANTS)


def get_detection_spec(name: str, **changes: Any) -> DetectionSpec:
    """The spec of the detector called `name`, with the fields in `changes` replaced.

    Raises ValueError for a name nobody published or for values that make no network, and
    TypeError for a field that a spec does not have; each names the closest right word.
    """
    spec = DETECTION_VARIANTS.get(name)
    if spec is None:
        raise ValueError(f"there is no detector called {name!r}; {closest(name, DETECTION_VARIANTS)}")
    return with_changes(spec, name, changes)
