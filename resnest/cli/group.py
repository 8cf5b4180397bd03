"""The `resnest` command."""

from __future__ import annotations

import dataclasses
import json
from itertools import groupby
from pathlib import Path
from typing import Any

import click

import resnest
from resnest.cli.commands.bench import bench
from resnest.cli.commands.export import export
from resnest.cli.commands.segment import segment, show_costs, verify_segmentation
from resnest.cli.terminal import BROKEN_BOUND, Group, console, difference_table, errors, make_table
from resnest.specs.cost import trained_parameters
from resnest.specs.resnest import ALIASES, ResNeStSpec, get_spec, list_models
from resnest.specs.segmentation.network import SEGMENTATION_VARIANTS, SegmentationSpec, get_segmentation_spec
from resnest.weights.names.backbone import ALIASES as DIALECT_ALIASES
from resnest.weights.names.backbone import DIALECTS


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(resnest.__version__)
def main() -> None:
    """ResNeSt (Split-Attention Networks) in PyTorch and MXNet Gluon, from one spec."""


for command in (bench, export, segment, verify_segmentation):
    main.add_command(command)


@main.command("list")
def list_command() -> None:
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
    console.print(f"\nfor segmentation: {', '.join(SEGMENTATION_VARIANTS)}")


@main.command()
@click.argument("name")
@click.option("--size", type=int, help="Side of the image in pixels; without it the published one.")
@click.option("--output-stride", type=int, default=32, show_default=True, help="32, or 16 and 8 for dilated networks.")
def info(name: str, size: int | None, output_stride: int) -> None:
    """Show the stages, shapes and costs of the network NAME."""
    if name in SEGMENTATION_VARIANTS:
        return show_costs(get_segmentation_spec(name), size)
    spec = get_spec(name, output_stride=output_stride)
    size = spec.image_size if size is None else size
    cost = spec.cost(size)
    aliases = "".join(f", {alias} in timm" for alias, model in ALIASES.items() if model == spec.name)
    console.print(f"[bold]{spec.name}[/]{aliases}, at {size}x{size}, output stride {output_stride}")
    table = make_table("part", "blocks", "output", "stride", "params", "MACs")
    parts = {part: list(layers) for part, layers in groupby(cost.layers, key=lambda layer: _part(layer.name))}
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


@main.command()
@click.argument("name")
@click.option(
    "--source", help="Whose weights: authors-torch, timm or authors-gluon; without it the first that has them."
)
@click.option("--root", type=click.Path(path_type=Path), help="Folder to keep files in.  [default: ~/.cache/resnest]")
def download(name: str, source: str | None, root: Path | None) -> None:
    """Download published weights of the network NAME, unless they are there, and print where they are."""
    from resnest.weights.published import pretrained

    click.echo(pretrained.download(name, source, root=root))


@main.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--dialect",
    help="Names to write; without it Gluon's for .params and PyTorch's for the others. "
    f"Known are {', '.join((*DIALECTS, *DIALECT_ALIASES))}.",
)
@click.option("--backbone", is_flag=True, help="Take the backbone alone, without any head or classifier.")
@click.option("--verify", is_flag=True, help="Load both files and compare their logits.")
def convert(source: Path, target: Path, dialect: str | None, backbone: bool, verify: bool) -> None:
    """Rewrite the weight file SOURCE as TARGET (.safetensors, .npz, .pth, .params)."""
    from resnest import weights

    with errors.status(f"converting {source.name}"):
        spec = weights.convert(source, target, dialect=dialect, backbone=backbone)
    click.echo(f"{target}: {spec.name}, {len(spec.tensors())} tensors, {target.stat().st_size / 1e6:.1f} MB")
    if verify:
        from resnest.jobs.parity import verify_conversion

        with errors.status("comparing logits"):
            row = verify_conversion(source, target, backbone=backbone)
        console.print(difference_table([row]))
        if not row.within:
            raise click.exceptions.Exit(BROKEN_BOUND)


@main.command()
@click.argument("name")
@click.option("--weights", type=click.Path(path_type=Path), help="A weight file; without it seeded weights are drawn.")
@click.option(
    "--image", type=click.Path(path_type=Path), help="A photo; without it the one that comes with the package."
)
@click.option("--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True)
@click.option("--size", type=int, help="Side of the image in pixels; without it the published one.")
@click.option("--output-stride", type=int, default=32, show_default=True, help="32, or 16 and 8 for dilated networks.")
@click.option("--deploy", is_flag=True, help="Compare the deploy forms, with batch norms folded.")
@click.option("--train", is_flag=True, help="Compare one training step too: loss, gradients, running statistics.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every tensor on its own, instead of tables.")
def parity(
    name: str,
    weights: Path | None,
    image: Path | None,
    dtype: str,
    size: int | None,
    output_stride: int,
    deploy: bool,
    train: bool,
    as_json: bool,
) -> None:
    """Run the network NAME in both backends, with the same weights and image, and say how far apart they are."""
    from resnest.data.photos import load_image
    from resnest.jobs import parity as check
    from resnest.weights import load, recognise
    from resnest.weights.fold import in_form_of
    from resnest.weights.recognition.backbone import is_folded
    from resnest.weights.seeded import draw_weights

    spec = any_spec(name, output_stride)
    if deploy and not isinstance(spec, ResNeStSpec):
        raise ValueError(
            f"--deploy goes with a classifier, and {name} is a segmentation network, which has no such form"
        )
    size = spec.image_size if size is None else size
    spec.check_size(size, size)
    pixels = load_image(image, size).astype(dtype)
    with errors.status("") as status:

        def progress(step: str) -> None:
            status.update(f"{spec.name} at {size}x{size} in {dtype}: {step}")

        progress("weights")
        if weights is None:
            tensors = draw_weights(spec)
        else:
            tensors = load(weights)
            found = recognise({tensor: array.shape for tensor, array in tensors.items()})
            spec = dataclasses.replace(spec, num_classes=found.num_classes)
        if isinstance(spec, ResNeStSpec) and (deploy or is_folded(tensors)):
            spec = dataclasses.replace(spec, deploy=True)
            tensors = in_form_of(spec, tensors)
        stages = check.compare_stages(spec, tensors, pixels, progress)
        step = check.compare_training(spec, tensors, check.training_batch(pixels), progress) if train else []
    rows = [*stages, *step]
    folded = isinstance(spec, ResNeStSpec) and spec.deploy
    if as_json:
        report = {"model": spec.name, "deploy": folded, "size": size, "dtype": dtype}
        differences = [dataclasses.asdict(row) | {"within": row.within} for row in rows]
        click.echo(json.dumps(report | {"differences": differences}, indent=1))
    else:
        form = ", deploy form," if folded else ""
        console.print(f"[bold]{spec.name}[/]{form} at {size}x{size} in {dtype}: PyTorch against MXNet Gluon")
        console.print(difference_table(stages))
        if train:
            console.print("\none training step: the loss, and of each part of the network the tensor furthest apart")
            console.print(difference_table(_worst(step)))
    if not all(row.within for row in rows):
        raise click.exceptions.Exit(BROKEN_BOUND)


def any_spec(name: str, output_stride: int) -> ResNeStSpec | SegmentationSpec:
    """The spec of any published network; one for segmentation has an output stride of its own."""
    if name in SEGMENTATION_VARIANTS:
        return get_segmentation_spec(name)
    return get_spec(name, output_stride=output_stride)


def _worst(rows: list[Any]) -> list[Any]:
    """The row furthest from its bound, of each kind of thing in each part of the network."""
    worst: dict[tuple[str, str], Any] = {}
    for row in rows:
        kind, _, name = row.name.rpartition(" of ")
        key = kind or name.rpartition(".")[2], _part(name)
        if key not in worst or not row.relative <= worst[key].relative:
            worst[key] = row
    return list(worst.values())


def _part(name: str) -> str:
    """Which part of the network the layer or tensor called `name` is in."""
    first = name.removeprefix("backbone.").partition(".")[0]
    return "stem" if first in ("conv1", "bn1", "stem") else first


def _parameters(spec: ResNeStSpec) -> dict[str, int]:
    parts: dict[str, dict[str, tuple[int, ...]]] = {"fc": {}}
    for name, shape in spec.tensors().items():
        parts.setdefault(_part(name), {})[name] = shape
    return {part: trained_parameters(shapes) for part, shapes in parts.items()}
