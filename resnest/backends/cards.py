"""The model card of a network of each task: the text of `README.md` in its folder or repository."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from resnest.specs import protocols
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.networks import Network
from resnest.specs.resnest import MEAN, STD, ResNeStSpec
from resnest.specs.segmentation.network import SegmentationSpec

PAPER = "ResNeSt ([ResNeSt: Split-Attention Networks](https://arxiv.org/abs/2004.08955))"


def model_card(spec: Network) -> str:
    """What the network `spec` is, what it costs, and how to feed and open it, in Markdown."""
    return CARDS[type(spec)](spec)


def _classifiers_card(spec: ResNeStSpec) -> str:
    cost = spec.cost(spec.image_size)
    task = "image-classification" if spec.num_classes else "image-feature-extraction"
    rows = {
        "blocks in stages 1 to 4": ", ".join(map(str, spec.stage_depths)),
        "radix, cardinality, bottleneck width": f"{spec.radix}, {spec.cardinality}, {spec.bottleneck_width}",
        "output stride": spec.output_stride,
        "input channels": spec.in_channels,
        "classes": spec.num_classes or "none: a backbone",
        "parameters": f"{cost.parameters:,}",
        f"multiply-accumulates at {spec.image_size}x{spec.image_size}": f"{cost.macs:,}",
    }
    prepared = protocols.preparation(protocols.DEFAULT, spec.image_size, spec.name)
    food = f"""## Input

A photo as {spec.image_size}x{spec.image_size} pixels: {prepared};
{_normalised()}.

"""
    return _card(spec, task, task, f"A {PAPER}", rows, "ResNeSt", food=food)


def _detectors_card(spec: DetectionSpec) -> str:
    long, short = spec.scale
    task = "image-segmentation" if spec.has_masks else "object-detection"
    rows = {
        "backbone": spec.backbone.name,
        "classes": spec.num_classes,
        "parameters": f"{spec.cost(short, long).parameters:,}",
    }
    use = "found = model.predict(photos)  # of RGB, which it resizes to fit into"
    use += f" {long}x{short} pixels and normalises\n"
    return _card(spec, task, "object-detection", f"A detector ({spec.family}) on {PAPER}", rows, "Detector", use)


def _segmenters_card(spec: SegmentationSpec) -> str:
    task = "image-segmentation"
    rows = {
        "backbone, output stride": f"{spec.backbone.name}, {spec.output_stride}",
        "head": spec.head,
        "classes": spec.num_classes,
        "parameters": f"{spec.cost(spec.image_size).parameters:,}",
    }
    use = f"logits = model.predict(x)  # of {_normalised()}\n"
    return _card(spec, task, task, f"A segmentation network on {PAPER}", rows, "Segmenter", use)


def _normalised() -> str:
    mean, std = (", ".join(map(str, numbers)) for numbers in (MEAN, STD))
    return f"RGB in [0, 1], from which {mean} is taken and which is divided by {std}"


def _card(
    spec: Any, task: str, tag: str, what: str, rows: Mapping[str, object], opener: str, use: str = "", food: str = ""
) -> str:
    """A card of a network that the class `opener` opens; `use` is code behind that, and `food` what it is fed with."""
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""---
library_name: resnest
pipeline_tag: {task}
tags:
- resnest
- split-attention
- {tag}
---

# {spec.name}

{what} that was saved by `resnest`.

| | |
|---|---|
{table}

{food}## Use

```python
from resnest.torch import {opener}  # or resnest.gluon: the same file opens in both

model = {opener}.from_pretrained("this repository or folder")
{use}```
"""


CARDS: dict[type, Callable[[Any], str]] = {
    ResNeStSpec: _classifiers_card,
    DetectionSpec: _detectors_card,
    SegmentationSpec: _segmenters_card,
}
"""Kind of spec -> what writes the card of such a network."""
