"""Which classifier or backbone do these tensors belong to, and what of them does a network take?"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Container, Mapping

import numpy as np

from resnest.specs.published import VARIANTS
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.with_backbone import STEM
from resnest.weights.adapt import adapt
from resnest.weights.names import backbone as names
from resnest.weights.names.dialect import Dialect
from resnest.weights.recognition.check import Shapes, check

__all__ = ["SPEC", "adapt", "behind_openmmlabs_names", "fit", "holds", "is_folded", "names", "recognise"]

SPEC = ResNeStSpec
"""The kind of spec that this task has."""

_OPTIONAL_PARTS = {"layer1", "layer2", "layer3", "layer4", "fc"}

# What tensors cannot show: where the pooling stands, how far a stage is dilated, what the network was trained at.
_NOT_IN_TENSORS = ("name", "avd_first", "output_stride", "dilated_pooling", "image_size")


def recognise(shapes: Shapes, dialect: Dialect | None = None) -> ResNeStSpec:
    """The spec of the network whose canonical tensors have these shapes.

    Of the variants with the same tensors the first is taken (`resnest50` for a
    `resnest50_fast_2s1x64d`, which differs in where it pools). Raises ValueError for tensors
    that are no ResNeSt's. In which `dialect` they were written tells nothing.
    """
    try:
        found = _derive(shapes)
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise ValueError(f"these tensors are no ResNeSt's: {error} is not as in one") from None
    for variant in VARIANTS.values():
        alike = {field: getattr(found, field) for field in ("num_classes", "in_channels", "deploy")}
        same = {field: getattr(variant, field) for field in _NOT_IN_TENSORS}
        if dataclasses.replace(found, **same) == dataclasses.replace(variant, **alike):
            return dataclasses.replace(variant, **alike)
    return found


def is_folded(names: Container[str]) -> bool:
    """Whether these canonical names are those of a deploy form: a convolution that a norm follows has no bias."""
    return "layer1.0.conv1.bias" in names or "backbone.layer1.0.conv1.bias" in names


def behind_openmmlabs_names(shapes: Shapes) -> ResNeStSpec:
    """The spec of the backbone of a network whose canonical tensors, under OpenMMLab's names, have these shapes."""
    ours = {f"backbone.{theirs}": ours for ours, theirs in STEM.items()}
    parts = {}
    for name, shape in shapes.items():
        module, _, tensor = name.rpartition(".")
        if name.startswith("backbone."):
            parts[f"{ours.get(module, module.removeprefix('backbone.'))}.{tensor}"] = shape
    return recognise(parts)


def _derive(shapes: Shapes) -> ResNeStSpec:
    blocks = {match.groups() for name in shapes if (match := re.match(r"layer([1-4])\.(\d+)\.conv1\.weight$", name))}
    depths = [sum(stage == number for stage, _ in blocks) for number in "1234"]
    deep_stem = "conv1.0.weight" in shapes
    first = shapes["conv1.0.weight" if deep_stem else "conv1.weight"]
    group_width = shapes["layer1.0.conv1.weight"][0]
    splits, per_group = shapes["layer1.0.conv2.conv.weight"][:2]
    radix = splits // group_width
    cardinality = group_width // (per_group * radix)
    if 0 in depths:
        raise KeyError(f"layer{depths.index(0) + 1}.0.conv1.weight")
    return ResNeStSpec(
        "resnest",
        (depths[0], depths[1], depths[2], depths[3]),
        radix=radix,
        cardinality=cardinality,
        bottleneck_width=group_width // cardinality,
        deep_stem=deep_stem,
        stem_width=first[0] if deep_stem else ResNeStSpec.stem_width,
        avg_down="layer1.0.downsample.0.weight" not in shapes,  # a pooling has that place
        deploy=is_folded(shapes),
        in_channels=first[1],
        num_classes=shapes["fc.weight"][0] if "fc.weight" in shapes else 0,
    )


def holds(names: Container[str]) -> bool:
    """Whether these canonical names may be a classifier's or backbone's: what is of no other task is taken for one."""
    return True


def fit(weights: Mapping[str, np.ndarray], spec: ResNeStSpec, built: Shapes) -> dict[str, np.ndarray]:
    """The `weights` that a network of this `spec`, whose tensors have the shapes `built`, is to be loaded with.

    A classifier or stage that it was built without is left out. Raises ValueError, listing
    them, for tensors that are unknown, missing or misshaped.
    """
    parts = {name.partition(".")[0] for name in built}
    left_out = _OPTIONAL_PARTS - parts
    kept = {name: array for name, array in weights.items() if name.partition(".")[0] not in left_out}
    check({name: array.shape for name, array in kept.items()}, built, spec.name)
    return kept
