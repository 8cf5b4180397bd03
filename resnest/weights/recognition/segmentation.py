"""Which segmentation network do these tensors belong to, and what of them does a network take?"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Container, Mapping

import numpy as np

from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import BACKBONE, SegmentationSpec
from resnest.specs.segmentation.published import SEGMENTATION_VARIANTS
from resnest.weights.names import segmentation as names
from resnest.weights.names.dialect import Dialect
from resnest.weights.recognition import backbone
from resnest.weights.recognition.check import Shapes, check

__all__ = ["SPEC", "adapt", "fit", "holds", "names", "recognise"]

SPEC = SegmentationSpec
"""The kind of spec that this task has."""

CLASSIFIER = "decode_head.conv_seg.weight"

# What tensors cannot show, such as the order in which an ASPP joins what it saw, and what is compared on its own.
_NOT_IN_TENSORS = ("name", "dataset", "pooled_first", "dropout", "num_classes", "deploy")


def recognise(shapes: Shapes, dialect: Dialect | None = None) -> SegmentationSpec:
    """The spec of the segmentation network whose canonical tensors have these shapes.

    One of the published networks where the shapes are its; otherwise a network of its own, which
    follows sssegmentation where the file did (`dialect`). Raises ValueError for tensors that are
    no segmentation network's.
    """
    head = next((head for head, sign in names.HEAD_SIGNS.items() if sign in shapes), None)
    if head is None or CLASSIFIER not in shapes:
        raise ValueError("these tensors are no segmentation network's: decode_head is none of FCN, PSP and ASPP")
    auxiliary = shapes.get("auxiliary_head.conv_seg.weight")
    num_classes, channels = shapes[CLASSIFIER][:2]
    found = SegmentationSpec(
        "segmentation",
        head,
        num_classes,
        channels,
        auxiliary_channels=auxiliary[1] if auxiliary else 0,
        joins_input=head != "fcn" or "decode_head.conv_cat.conv.weight" in shapes,
        pooled_first=dialect is None or dialect.name != "sssegmentation",
        deploy=backbone.is_folded(shapes),
        backbone=_backbone(shapes),
    )
    alike = [variant for variant in SEGMENTATION_VARIANTS.values() if _same_form(found, variant)]
    for variant in alike:
        if variant.num_classes == num_classes:
            return variant.fitted(found)
    if dialect is None and alike:  # a published network for other classes
        return dataclasses.replace(found, pooled_first=alike[0].pooled_first)
    return found


def _same_form(found: SegmentationSpec, variant: SegmentationSpec) -> bool:
    """Whether the two have the same tensors, but for the number of classes and folded norms."""
    same = {field: getattr(variant, field) for field in _NOT_IN_TENSORS}
    if found.head != "fcn":  # only an FCN has anything to join
        same["joins_input"] = variant.joins_input
    return dataclasses.replace(found, **same) == variant


def _backbone(shapes: Shapes) -> ResNeStSpec:
    found = backbone.behind_openmmlabs_names(shapes)
    return dataclasses.replace(found, output_stride=BACKBONE.output_stride, dilated_pooling=BACKBONE.dilated_pooling)


def holds(names: Container[str]) -> bool:
    """Whether these canonical names are a segmentation network's."""
    return CLASSIFIER in names


def fit(weights: Mapping[str, np.ndarray], spec: SegmentationSpec, built: Shapes) -> dict[str, np.ndarray]:
    """The `weights` that a network of this `spec`, whose tensors have the shapes `built`, is to be loaded with.

    An auxiliary head that the network does without is left out. Raises ValueError for weights of
    another kind of network, of another number of classes, and for tensors that are unknown,
    missing or misshaped.
    """
    if CLASSIFIER not in weights:
        kind = "a classification network's" if "layer1.0.conv1.weight" in weights else "no segmentation network's"
        raise ValueError(
            f"these weights are {kind}, and {spec.name} is a segmentation network: give it a checkpoint that has a"
            " decode_head, or load these into its backbone alone"
        )
    classes = len(weights[CLASSIFIER])
    if classes != spec.num_classes:
        raise ValueError(
            f"these weights tell {classes} classes apart and {spec.name} {spec.num_classes}:"
            f" build it with num_classes={classes}"
        )
    kept = {
        name: array
        for name, array in weights.items()
        if spec.auxiliary_channels or not name.startswith("auxiliary_head.")
    }
    check({name: array.shape for name, array in kept.items()}, built, spec.name)
    return kept


def adapt(
    weights: Mapping[str, np.ndarray], spec: SegmentationSpec, asked: Collection[str]
) -> Mapping[str, np.ndarray]:
    """The `weights` as they are: `fit` refuses those of other classes, for other heads are trained anew."""
    return weights
