"""The `resnest` commands for semantic segmentation: `segment` and `verify-segmentation`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image
from rich.progress import Progress

from resnest.cli.terminal import Command, console, errors, make_table
from resnest.data import classes as label_maps
from resnest.data import label_maps as miou
from resnest.data.photos import normalise, open_photo
from resnest.jobs.predict.segmentation import MODES, SCALES, Inference, Predict
from resnest.jobs.processes import joined, process, processes, sum_over_processes
from resnest.specs.cost import trained_parameters
from resnest.specs.segmentation.network import SegmentationSpec, get_segmentation_spec
from resnest.weights import load
from resnest.weights.recognition.segmentation import fit_segmentation, recognise_segmentation


def inference_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which network sees a photo, and how."""
    options = [
        click.option("--model", help="A published network's name; without it what the weights are recognised as."),
        click.option("--weights", type=click.Path(path_type=Path), required=True, help="A segmentation checkpoint."),
        click.option("--backend", type=click.Choice(["torch", "gluon"]), default="torch", show_default=True),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ..."),
        click.option("--size", type=int, help="Short side in pixels to resize to first; without it as the photo is."),
        click.option("--mode", type=click.Choice(MODES), default="whole", show_default=True),
        click.option("--window", type=int, default=Inference.window, show_default=True, help="Side, in slide mode."),
        click.option("--stride", type=int, default=Inference.stride, show_default=True, help="From window to window."),
        click.option("--multi-scale", is_flag=True, help=f"Average over scales {', '.join(map(str, SCALES))}."),
        click.option("--flip", is_flag=True, help="Average with the mirrored photo."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(cls=Command)
@click.argument("photo", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The overlay; without it PHOTO's name with .overlay.png."
)
@click.option("--labels", type=click.Path(path_type=Path), help="The label map; without it OUTPUT's with .labels.png.")
@click.option("--opacity", type=float, default=0.5, show_default=True, help="Of the colours over the photo.")
@inference_options
def segment(
    photo: Path, output: Path | None, labels: Path | None, opacity: float, size: int | None, **options: Any
) -> None:
    """Label every pixel of PHOTO: an overlay with a legend, and the raw label map as PNG."""
    output = output or photo.with_suffix(".overlay.png")
    labels = labels or output.with_suffix(".labels.png")
    image = open_photo(photo)
    with errors.status("weights"):
        spec, inference, predict = _network(**options)
    with errors.status(f"{spec.name} on {photo.name}"):
        found = label_photo(image, size, inference, predict)
    classes = label_maps.classes_of(spec.dataset, spec.num_classes)
    label_maps.overlay(image, found, classes, opacity).save(output)
    Image.fromarray(found).save(labels)
    rows = make_table("class", "label", "share")
    for number, share in label_maps.shares(found):
        rows.add_row(classes[number].name, str(number), f"{share:.1%}")
    console.print(rows)
    click.echo(f"{output}: overlay; {labels}: label map")


@click.command("verify-segmentation", cls=Command)
@click.argument("images", type=click.Path(path_type=Path))
@click.argument("labels", type=click.Path(path_type=Path))
@click.option(
    "--zero-is-ignored/--zero-is-a-class",
    default=None,
    help="Whether label maps count classes from 1; without it they do for ADE20K, as published, and no other.",
)
@inference_options
def verify_segmentation(
    images: Path, labels: Path, zero_is_ignored: bool | None, size: int | None, **options: Any
) -> None:
    """Mean intersection over union on the photos in IMAGES, against the label maps in LABELS.

    A label map has its photo's name (Cityscapes' own names work) and 255 where nothing is to be
    counted. Under torchrun the photos are dealt out to its processes.
    """
    pairs = miou.pairs(images, labels)
    with errors.status("weights"):
        spec, inference, predict = _network(**options)
    if zero_is_ignored is None:
        zero_is_ignored = spec.dataset == "ade20k"
    confusion = np.zeros((spec.num_classes, spec.num_classes), np.int64)
    with joined(), Progress(console=errors, disable=process() > 0) as progress:
        for photo, label_map in progress.track(pairs[process() :: processes()], description=spec.name):
            image = open_photo(photo)
            truth = miou.read_labels(label_map, spec.num_classes, zero_is_ignored)
            if truth.shape != (image.height, image.width):
                sizes = f"{truth.shape[1]}x{truth.shape[0]} and its photo {image.width}x{image.height}"
                raise ValueError(f"{label_map} is {sizes}")
            predicted = label_photo(image, size, inference, predict)
            confusion += miou.confusion_matrix(truth, predicted, spec.num_classes)
        scores = miou.Scores(sum_over_processes(confusion))
    if process() == 0:
        _report(spec, scores, len(pairs))


def show_costs(spec: SegmentationSpec, size: int | None) -> None:
    """What `resnest info` shows of a segmentation network."""
    size = spec.image_size if size is None else size
    cost = spec.cost(size)
    console.print(f"[bold]{spec.name}[/] at {size}x{size}: {spec.num_classes} classes")
    rows = make_table("part", "output", "params", "MACs")
    parts = {"backbone": "layer4", "decode_head": "logits", "auxiliary_head": None}
    for part, stage in parts.items():
        tensors = {name: shape for name, shape in spec.tensors().items() if name.startswith(f"{part}.")}
        parameters = trained_parameters(tensors)
        macs = sum(layer.macs for layer in cost.layers if layer.name.startswith(f"{part}."))
        shape = "x".join(map(str, cost.stages[stage])) if stage else "in training only"
        rows.add_row(part, shape, f"{parameters:,}", f"{macs:,}" if stage else "", end_section=stage is None)
    rows.add_row("all", "", f"{cost.parameters:,}", f"{cost.macs:,}")
    console.print(rows)


def label_photo(image: Image.Image, size: int | None, inference: Inference, predict: Predict) -> np.ndarray:
    """The label map (H, W) of a photo, at its own size, whatever size the network saw."""
    seen = image
    if size is not None:
        scale = size / min(image.size)
        seen = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
    found = inference.probabilities(predict, normalise(seen))
    return label_maps.enlarge(found, image.height, image.width)


def _network(
    model: str | None,
    weights: Path,
    backend: str,
    device: str,
    mode: str,
    window: int,
    stride: int,
    multi_scale: bool,
    flip: bool,
) -> tuple[SegmentationSpec, Inference, Predict]:
    inference = Inference(mode, window, stride, SCALES if multi_scale else (1.0,), flip)
    spec = get_segmentation_spec(model) if model else None
    arrays = load(weights)
    spec = spec or _recognised(weights, arrays)
    try:
        arrays = fit_segmentation(arrays, spec)
    except ValueError as error:
        raise ValueError(f"{weights}: {error}") from None
    return spec, inference, importlib.import_module(f"resnest.{backend}.predictor").predictor(spec, arrays, device)


def _recognised(path: Path, arrays: Mapping[str, np.ndarray]) -> SegmentationSpec:
    try:
        return recognise_segmentation({name: array.shape for name, array in arrays.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _report(spec: SegmentationSpec, scores: miou.Scores, photos: int) -> None:
    rows = make_table("class", "IoU", "accuracy")
    for known, iou, accuracy in zip(
        label_maps.classes_of(spec.dataset, spec.num_classes), scores.iou, scores.accuracy, strict=True
    ):
        rows.add_row(known.name, _percent(iou), _percent(accuracy))
    console.print(rows)
    console.print(
        f"{spec.name} on {photos} photos: mean IoU {_percent(scores.mean_iou)},"
        f" pixel accuracy {_percent(scores.pixel_accuracy)}"
    )


def _percent(share: float) -> str:
    return "" if np.isnan(share) else f"{100 * share:.2f}"
