"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click


def check_outputs(outputs: Mapping[str, Path], inputs: Mapping[str, Path]) -> None:
    """What is going to be written, and what is read, by what each is called in a sentence.

    Raises ValueError where a file would take the place of one that is read, or of another one that is written, and
    where it has no folder to be in.
    """
    check_distinct(outputs, inputs)
    for name, path in outputs.items():
        if path.is_dir():
            raise ValueError(f"{path} is a folder, and {name} is a file: give it a name in there")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {path.parent} to write {name} into")


def check_distinct(outputs: Mapping[str, Path], inputs: Mapping[str, Path]) -> None:
    """ValueError where a file would take the place of one that is read, or of another one that is written."""
    taken = dict(inputs)
    for name, path in outputs.items():
        for other, place in taken.items():
            if _same(path, place):
                raise ValueError(f"{name} would take the place of {other}, {place}: give it another name")
        taken[name] = path


def _same(path: Path, other: Path) -> bool:
    """Whether two paths lead to one file, whatever links and spellings are on the way."""
    return path.resolve() == other.resolve() or (path.exists() and other.exists() and path.samefile(other))


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
