"""`resnest list`."""

from __future__ import annotations

import click

from resnest.cli.terminal import Command, console, make_table
from resnest.specs import get_spec, list_detection_models, list_models, list_segmentation_models


@click.command("list", cls=Command)
def command() -> None:
    """List the published networks."""
    table = make_table("model", "depths", "form", "size", "params", "MACs")
    for name in list_models():
        spec = get_spec(name)
        cost = spec.cost(spec.image_size)
        table.add_row(
            name,
            ",".join(map(str, spec.stage_depths)),
            f"{spec.radix}s{spec.cardinality}x{spec.bottleneck_width}d",
            str(spec.image_size),
            f"{cost.parameters / 1e6:.1f} M",
            f"{cost.macs / 1e9:.1f} G",
        )
    console.print(table)
    console.print(
        "form: radix s cardinality x width d; size: side of the published input in pixels; MACs: at that size"
    )
    console.print(f"\nfor detection: {', '.join(list_detection_models())}")
    console.print(f"\nfor segmentation: {', '.join(list_segmentation_models())}")
