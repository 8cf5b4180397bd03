"""Which detector do these tensors belong to, and what of them does a network take?"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Container, Mapping

import numpy as np

from resnest.specs.detection.network import ANCHORS, DetectionSpec
from resnest.specs.detection.published import DETECTION_VARIANTS
from resnest.weights.names import detection as names
from resnest.weights.names.detection import BOX_HEAD, CASCADE
from resnest.weights.names.dialect import Dialect
from resnest.weights.recognition import backbone
from resnest.weights.recognition.check import Shapes, check

__all__ = ["SPEC", "adapt", "fit", "holds", "names", "recognise"]

SPEC = DetectionSpec
"""The kind of spec that this task has."""

RPN = "rpn_head.rpn_cls.weight"

# What tensors cannot show, and what is compared on its own.
_NOT_IN_TENSORS = (
    *("name", "dataset", "num_classes", "anchors", "proposals", "score_threshold", "nms_iou", "max_detections"),
    *("mask_threshold", "scale", "frozen_stages", "deploy", "backbone"),
)


def recognise(shapes: Shapes, dialect: Dialect | None = None) -> DetectionSpec:
    """The spec of the detector whose canonical tensors have these shapes.

    One of the published networks where the shapes are its, also for other classes; otherwise a network of its
    own with their numbers. Raises ValueError for tensors that are no detector's. In which `dialect` they were
    written tells nothing.
    """
    if not holds(shapes):
        raise ValueError(_no_detectors(shapes, "a detector"))
    try:
        found = _derive(shapes)
    except (KeyError, IndexError) as error:
        raise ValueError(f"these tensors are no detector's: {error} is not among them") from None
    for variant in DETECTION_VARIANTS.values():
        same = {field: getattr(variant, field) for field in _NOT_IN_TENSORS}
        if dataclasses.replace(found, **same) == variant and _same_backbone(found, variant):
            # A network for other classes, or folded, is the published one but for that.
            dataset = variant.dataset if found.num_classes == variant.num_classes else ""
            return dataclasses.replace(variant.fitted(found), dataset=dataset)
    return found


def _same_backbone(found: DetectionSpec, variant: DetectionSpec) -> bool:
    return found.backbone == dataclasses.replace(
        variant.backbone, in_channels=found.in_channels, deploy=found.backbone.deploy
    )


def _derive(shapes: Shapes) -> DetectionSpec:
    box_head = CASCADE if f"{CASCADE}.fc_cls.weight" in shapes else BOX_HEAD
    mask_head = box_head.replace("bbox", "mask")
    classes, hidden = shapes[f"{box_head}.fc_cls.weight"]
    anchors = shapes[RPN][0]
    if anchors != len(ANCHORS.ratios):
        raise ValueError(f"these tensors have {anchors} anchors at each pixel, and do not tell which ratios they have")
    masks = _count(shapes, f"{mask_head}.convs")
    family = ("cascade_" if box_head is CASCADE else "") + ("mask_rcnn" if masks else "rcnn")
    return DetectionSpec(
        "detector",
        "faster_rcnn" if family == "rcnn" else family,
        classes - 1,
        shapes["neck.fpn_convs.0.conv.weight"][0],
        hidden,
        box_convs=_count(shapes, f"{box_head}.shared_convs"),
        mask_convs=masks or DetectionSpec.mask_convs,
        deploy=backbone.is_folded(shapes),
        backbone=backbone.behind_openmmlabs_names(shapes),
    )


def _count(shapes: Shapes, prefix: str) -> int:
    """How many convolutions stand behind `prefix`."""
    number = 0
    while f"{prefix}.{number}.conv.weight" in shapes:
        number += 1
    return number


def holds(names: Container[str]) -> bool:
    """Whether these canonical names are a detector's."""
    return RPN in names


def _no_detectors(names: Container[str], wanted: str) -> str:
    kind = "a classification network's" if "layer1.0.conv1.weight" in names else "no detector's"
    return (
        f"these weights are {kind}, and {wanted} would find nothing with them: give it a checkpoint that has rpn_head"
        " and roi_head, or load these into its backbone alone to train it"
    )


def fit(weights: Mapping[str, np.ndarray], spec: DetectionSpec, built: Shapes) -> dict[str, np.ndarray]:
    """The `weights` that a network of this `spec`, whose tensors have the shapes `built`, is to be loaded with.

    Raises ValueError for weights of another kind of network, of another family or number of classes, and for
    tensors that are unknown, missing or misshaped.
    """
    if not holds(weights):
        raise ValueError(_no_detectors(weights, spec.name))
    found = recognise({name: array.shape for name, array in weights.items()})
    if found.family != spec.family:
        raise ValueError(f"these weights are a {found.family}'s, and {spec.name} is a {spec.family}")
    if found.num_classes != spec.num_classes:
        raise ValueError(
            f"these weights tell {found.num_classes} classes apart and {spec.name} {spec.num_classes}:"
            f" build it with num_classes={found.num_classes}"
        )
    check({name: array.shape for name, array in weights.items()}, built, spec.name)
    return dict(weights)


def adapt(weights: Mapping[str, np.ndarray], spec: DetectionSpec, asked: Collection[str]) -> Mapping[str, np.ndarray]:
    """The `weights` as they are: `fit` refuses those of other classes, for other heads are trained anew."""
    return weights
