"""Options that several commands have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from resnest.cli.paths import Weights
from resnest.cli.values import CLASSIFIER, DETECTOR, SEGMENTER, SIDE, Device, Key, NetworkName, Word
from resnest.specs import find
from resnest.specs.arguments import closest
from resnest.specs.protocols import PROTOCOLS

output_stride_option = click.option(
    "--output-stride",
    type=click.IntRange(8, 32),
    help="32, or 16 and 8 for dilated networks; without it the published one.",
)


FIRST = "first"
"""What `--pretrained` asks for by itself: the weights of the first source that has some."""


class Source(Word):
    """Whose weights; what stands behind a bare `--pretrained` is taken for one, and the answer says so."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        if value not in self.choices:
            known = closest(str(value), self.choices)
            self.fail(f"there are no weights of {value!r}; {known} (without a source, --pretrained goes last)")
        return value


pretrained_option = click.option(
    "--pretrained",
    type=Source([FIRST, *PROTOCOLS]),
    is_flag=False,
    flag_value=FIRST,
    metavar="[SOURCE]",
    help=f"Published weights, downloaded where they are not there yet: of {', '.join(PROTOCOLS)}, or of the first that"
    " has some.",
)

which_option = click.option(
    "--which",
    type=Key(),
    help="Of a checkpoint with several networks: ema, the average of the weights; model, the weights themselves; or a "
    "key of it. Without it the average, where there is one.",
)

device_option = click.option("--device", type=Device(), default="cpu", show_default=True, help="cpu, cuda, cuda:1, ...")


def weight_file(name: str, weights: Path | None, pretrained: str | None) -> Path | None:
    """The weight file that `--weights` or `--pretrained` asks for; ValueError for both, OSError where none is had."""
    if pretrained is None:
        return weights
    if weights is not None:
        raise ValueError(f"--pretrained goes without --weights {weights}")
    from resnest.weights.published.pretrained import CHECKPOINTS, download

    if find(name).name not in {row.variant for row in CHECKPOINTS}:
        raise ValueError(f"no address of published weights of {name} is known: give --weights")
    return download(name, None if pretrained == FIRST else pretrained)


DEFAULT = "resnest50"
"""The network that a photo is shown to where neither `--model` nor `--weights` asks for another."""


def classifier_options(weights: str) -> Callable[..., Any]:
    """The options that say which classifier sees photos, and how they are prepared for it; `weights` is help."""
    options: list[Callable[..., Any]] = [
        click.option(
            "--model",
            type=CLASSIFIER,
            help=f"A published network's name; without it what the weights are recognised as, or {DEFAULT}.",
        ),
        click.option("--weights", type=Weights(), help=weights),
        pretrained_option,
        which_option,
        backend_option,
        click.option("--size", type=SIDE, help="Side of the image in pixels; without it the published one."),
        click.option(
            "--protocol", type=Word([*PROTOCOLS]), help="How photos are prepared; without it as the weights want it."
        ),
    ]
    return lambda command: functools.reduce(lambda given, option: option(given), reversed(options), command)


def classifier_file(model: str | None, weights: Path | None, pretrained: str | None) -> tuple[str | None, Path]:
    """Which network is asked for, and its weight file; the same errors as `weight_file`."""
    if weights is None:
        model, pretrained = model or DEFAULT, pretrained or FIRST
    path = weight_file(model or DEFAULT, weights, pretrained)
    assert path is not None  # one of the two is asked for
    return model, path


def backend_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which backend computes; without the option the first."""
    from resnest.backends import registry  # here, so that a command with another option loads no NumPy

    first, *_ = registry.BACKENDS
    return click.option("--backend", type=Word([*registry.BACKENDS]), default=first, show_default=True)(command)


def _network_options(names: NetworkName, weights: str) -> list[Callable[..., Any]]:
    """The options that say which network of a task, with which weights, where."""
    return [
        click.option(
            "--model", type=names, help="A published network's name; without it what the weights are recognised as."
        ),
        click.option("--weights", type=Weights(), required=True, help=weights),
        which_option,
        backend_option,
        device_option,
    ]


def inference_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which segmentation network sees a photo, and how: `open_labeller` takes them."""
    from resnest.jobs.predict.segmentation import MODES, SCALES, Inference  # here, as above

    options: list[Callable[..., Any]] = [
        *_network_options(SEGMENTER, "A segmentation checkpoint."),
        click.option("--size", type=SIDE, help="Short side in pixels to resize to first; without it as the photo is."),
        click.option("--mode", type=Word(MODES), default="whole", show_default=True),
        click.option("--window", type=SIDE, default=Inference.window, show_default=True, help="Side, in slide mode."),
        click.option("--stride", type=SIDE, default=Inference.stride, show_default=True, help="From window to window."),
        click.option("--multi-scale", is_flag=True, help=f"Average over scales {', '.join(map(str, SCALES))}."),
        click.option("--flip", is_flag=True, help="Average with the mirrored photo."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def detection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say which detector sees a photo: `open_finder` takes them."""
    options = _network_options(DETECTOR, "A detector's checkpoint.")
    for option in reversed(options):
        command = option(command)
    return command


def read_inference(
    mode: str, window: int, stride: int, multi_scale: bool, flip: bool, **network: Any
) -> dict[str, Any]:
    """The arguments of `open_labeller` that the values of these options are."""
    from resnest.jobs.predict.segmentation import SCALES, Inference

    return network | {"inference": Inference(mode, window, stride, SCALES if multi_scale else (1.0,), flip)}
