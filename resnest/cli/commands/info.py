"""`resnest info`."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import click

from resnest.cli.options import output_stride_option
from resnest.cli.parts import part_of
from resnest.cli.terminal import Command, console, make_table
from resnest.cli.values import NETWORK, SIDE
from resnest.specs import DetectionSpec, ResNeStSpec, SegmentationSpec, find
from resnest.specs.cost import trained_parameters
from resnest.specs.published import ALIASES


@click.command("info", cls=Command)
@click.argument("name", type=NETWORK)
@click.option("--size", type=SIDE, help="Side of the image in pixels; without it the published one.")
@output_stride_option
def command(name: str, size: int | None, output_stride: int | None) -> None:
    """Show the stages, shapes and costs of the network NAME.

    Example: resnest info resnest50 --size 512
    """
    spec: Any = find(name)
    if output_stride is not None:
        spec = spec.at_stride(output_stride)
    TABLES[type(spec)](spec, spec.image_size if size is None else size)


def _show_stages(spec: ResNeStSpec, size: int) -> None:
    cost = spec.cost(size)
    aliases = "".join(f", {alias} in timm" for alias, model in ALIASES.items() if model == spec.name)
    console.print(f"[bold]{spec.name}[/]{aliases}, at {size}x{size}, output stride {spec.output_stride}")
    table = make_table("part", "blocks", "output", "stride", "params", "MACs")
    parts = {part: list(layers) for part, layers in groupby(cost.layers, key=lambda layer: part_of(layer.name))}
    parameters = _parameters(spec)
    for index, (part, shape) in enumerate(cost.stages.items()):
        depth = "" if index == 0 else str(spec.stage_depths[index - 1])
        macs = sum(layer.macs for layer in parts[part])
        stride = str(spec.feature_strides[index])
        table.add_row(part, depth, "x".join(map(str, shape)), stride, f"{parameters[part]:,}", f"{macs:,}")
    table.add_row(
        "fc", "", str(spec.num_classes), "", f"{parameters['fc']:,}", f"{cost.linear_macs:,}", end_section=True
    )
    table.add_row("all", "", "", "", f"{cost.parameters:,}", f"{cost.macs:,}")
    console.print(table)
    console.print(f"activations {cost.activations:,}; FLOPs as the model index counts them {cost.model_index_flops:,}")


def _parameters(spec: ResNeStSpec) -> dict[str, int]:
    parts: dict[str, dict[str, tuple[int, ...]]] = {"fc": {}}
    for name, shape in spec.tensors().items():
        parts.setdefault(part_of(name), {})[name] = shape
    return {part: trained_parameters(shapes) for part, shapes in parts.items()}


def _show_heads(spec: SegmentationSpec, size: int) -> None:
    cost = spec.cost(size)
    console.print(f"[bold]{spec.name}[/] at {size}x{size}: {spec.num_classes} classes")
    table = make_table("part", "output", "params", "MACs")
    parts = {"backbone": "layer4", "decode_head": "logits", "auxiliary_head": None}
    for part, stage in parts.items():
        tensors = {name: shape for name, shape in spec.tensors().items() if name.startswith(f"{part}.")}
        macs = sum(layer.macs for layer in cost.layers if layer.name.startswith(f"{part}."))
        shape = "x".join(map(str, cost.stages[stage])) if stage else "in training only"
        counts = f"{trained_parameters(tensors):,}", f"{macs:,}" if stage else ""
        table.add_row(part, shape, *counts, end_section=stage is None)
    table.add_row("all", "", f"{cost.parameters:,}", f"{cost.macs:,}")
    console.print(table)


def _show_detector(spec: DetectionSpec, size: int) -> None:
    # Without a size the published one, which is no square.
    cost = spec.cost(size, spec.scale[0] if size == spec.image_size else size)
    console.print(f"[bold]{spec.name}[/] at {cost.height}x{cost.width}: {spec.num_classes} classes")
    table = make_table("part", "output", "params", "MACs")
    regions, detections = spec.proposals.after, spec.max_detections
    outputs = {
        "backbone": "layer1 to layer4",
        "neck": "p2 to p6",
        "rpn_head": f"{regions} proposals",
        "roi_head.bbox_head": f"{detections} detections",
        "roi_head.mask_head": f"{detections} masks",
    }
    for part, output in outputs.items():
        tensors = {name: shape for name, shape in spec.tensors().items() if name.startswith(f"{part}.")}
        macs = sum(layer.macs for layer in cost.layers if layer.name.startswith(f"{part}."))
        if tensors:
            table.add_row(part, output, f"{trained_parameters(tensors):,}", f"{macs:,}")
    table.add_section()
    table.add_row("all", "", f"{cost.parameters:,}", f"{cost.macs:,}")
    console.print(table)


TABLES: dict[type, Any] = {
    ResNeStSpec: _show_stages,
    SegmentationSpec: _show_heads,
    DetectionSpec: _show_detector,
}
"""Kind of spec -> what prints the stages and costs of such a network, at a size."""
