"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

output_stride_option = click.option(
    "--output-stride", type=int, help="32, or 16 and 8 for dilated networks; without it the published one."
)


def inference_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which segmentation network sees a photo, and how: `open_labeller` takes them."""
    from resnest.backends import registry  # here, so that a command with another option loads no NumPy
    from resnest.jobs.predict.segmentation import MODES, SCALES, Inference

    first, *_ = registry.BACKENDS
    options = [
        click.option("--model", help="A published network's name; without it what the weights are recognised as."),
        click.option("--weights", type=click.Path(path_type=Path), required=True, help="A segmentation checkpoint."),
        click.option("--backend", type=click.Choice([*registry.BACKENDS]), default=first, show_default=True),
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


def detection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which detector sees a photo: `open_finder` takes them."""
    from resnest.backends import registry  # here, so that a command with another option loads no NumPy

    first, *_ = registry.BACKENDS
    options = [
        click.option("--model", help="A published network's name; without it what the weights are recognised as."),
        click.option("--weights", type=click.Path(path_type=Path), required=True, help="A detector's checkpoint."),
        click.option("--backend", type=click.Choice([*registry.BACKENDS]), default=first, show_default=True),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1, ..."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def read_inference(
    mode: str, window: int, stride: int, multi_scale: bool, flip: bool, **network: Any
) -> dict[str, Any]:
    """The arguments of `open_labeller` that the values of these options are."""
    from resnest.jobs.predict.segmentation import SCALES, Inference

    return network | {"inference": Inference(mode, window, stride, SCALES if multi_scale else (1.0,), flip)}
