"""`resnest list`."""

from __future__ import annotations

import fnmatch
from itertools import chain
from typing import Any

import click

from resnest.cli.terminal import Command, console, make_table, print_json
from resnest.cli.values import Pattern
from resnest.specs import get_spec, list_models
from resnest.specs.arguments import closest
from resnest.specs.networks import TASKS


@click.command("list", cls=Command)
@click.argument("pattern", type=Pattern(), default="*")
@click.option("--pretrained", is_flag=True, help="List the published weights, with their accuracy and where they are.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(pattern: str, pretrained: bool, as_json: bool) -> None:
    """List the published networks, or those that PATTERN fits (* is anything).

    Example: resnest list "resnest50*" --pretrained
    """
    known = {task.name: [*task.variants] for task in TASKS.values()}
    found = {task: fnmatch.filter(names, pattern) for task, names in known.items()}
    if not any(found.values()):
        raise ValueError(f"no network fits {pattern!r}; {closest(pattern, chain(*known.values()))}")
    if pretrained:
        rows = _published(found["classification"])
        print_json(rows) if as_json else _print_published(rows)
    elif as_json:
        print_json({task: [_facts(name) for name in names] if names else [] for task, names in found.items()})
    else:
        _print(found)


def _facts(name: str) -> dict[str, Any]:
    if name not in list_models():
        return {"name": name}
    spec = get_spec(name)
    cost = spec.cost(spec.image_size)
    return {
        "name": name,
        "depths": list(spec.stage_depths),
        "form": f"{spec.radix}s{spec.cardinality}x{spec.bottleneck_width}d",
        "size": spec.image_size,
        "parameters": cost.parameters,
        "macs": cost.macs,
    }


def _print(found: dict[str, list[str]]) -> None:
    table = make_table("model", "depths", "form", "size", "params", "MACs")
    for facts in map(_facts, found["classification"]):
        depths = ",".join(map(str, facts["depths"]))
        counts = f"{facts['parameters'] / 1e6:.1f} M", f"{facts['macs'] / 1e9:.1f} G"
        table.add_row(facts["name"], depths, facts["form"], str(facts["size"]), *counts)
    parts = []
    if found["classification"]:
        console.print(table)
        parts.append(
            "form: radix s cardinality x width d; size: side of the published input in pixels; MACs: at that size"
        )
    parts += [f"for {task}: {', '.join(found[task])}" for task in ("detection", "segmentation") if found[task]]
    console.print("\n\n".join(parts))


def _published(names: list[str]) -> list[dict[str, Any]]:
    from resnest.weights.published.pretrained import CHECKPOINTS

    return [
        {
            "model": row.variant,
            "source": row.source,
            "top1": row.top1,
            "size": row.preparation.size,
            "prepared": str(row.preparation),
            "address": row.address,
        }
        for row in CHECKPOINTS
        if row.variant in names
    ]


def _print_published(rows: list[dict[str, Any]]) -> None:
    table = make_table("model", "source", "size", "top-1", "address")
    table.columns[-1].justify = "left"
    for row in rows:
        figure = "" if row["top1"] is None else f"{row['top1']:.2f}"
        table.add_row(row["model"], row["source"], str(row["size"]), figure, row["address"])
    console.print(table, soft_wrap=True)
    console.print("source: whose weights, and the protocol by which photos were prepared; top-1: published, in percent")
