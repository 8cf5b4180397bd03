"""What arguments and options may be: types that refuse a bad value, in one sentence and before any work.

Every argument and option of every command is one of these, a path (`resnest.cli.paths`), a `click.IntRange` that has
two ends, or a flag.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from resnest.specs import DetectionSpec, ResNeStSpec, SegmentationSpec, find
from resnest.specs.arguments import closest
from resnest.specs.networks import TASKS
from resnest.specs.recipe import LONGEST_SIDE
from resnest.specs.recipes import PRESETS, presets_of

SIDE = click.IntRange(1, LONGEST_SIDE)
BATCH = click.IntRange(1, 65536)
THREADS = click.IntRange(1, 1024)

DEVICES = ("cpu", "cuda", "gpu", "mps", "xpu")
"""What networks are computed on: `gpu` is MXNet's word for `cuda`."""


class Word(click.Choice):
    """One of some words; a mistake is answered with those that come closest."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        return (
            value
            if value in self.choices
            else self.fail(_unknown(str(param and param.name), value, self.choices), param, context)
        )


class Words(click.ParamType):
    """Some of some words, with commas between them; () for none."""

    name = "words"

    def __init__(self, what: str, choices: Sequence[str]):
        self.what, self.choices = what, tuple(choices)

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[str, ...]:
        words = tuple(filter(None, value.split(","))) if isinstance(value, str) else tuple(value)
        for word in words:
            if word not in self.choices:
                self.fail(_unknown(self.what, word, self.choices), param, context)
        return words


class Number(click.FloatRange):
    """A number between two ends; Click's own takes what is no number (nan) for one."""

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        number = super().convert(value, param, context)
        return number if math.isfinite(number) else self.fail(f"{value} is no number", param, context)


class Setting(click.ParamType):
    """A key and its value, `batch=64`; which keys there are the command knows."""

    name = "setting"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> str:
        if not re.match(r"\w[\w.]*=", value):
            self.fail(f"{value!r} is no KEY=VALUE, as batch=64 is", param, context)
        return str(value)


class Key(click.ParamType):
    """What something is called within a file; whether it is there the reader of the file knows."""

    name = "key"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> str:
        if not value or not value.isprintable():
            self.fail(f"{value!r} is no {self.name}", param, context)
        return str(value)


class Size(click.ParamType):
    """Height and width in pixels: `512x1024`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", value)
        sides = [int(side) for side in found.groups()] if found else [0, 0]
        if not all(1 <= side <= LONGEST_SIDE for side in sides):
            self.fail(
                f"{value!r} is no height and width in pixels up to {LONGEST_SIDE}, as 512x1024 is", param, context
            )
        height, width = sides
        return height, width


class Pattern(Key):
    """Names as a shell would match them: `resnest50*`."""

    name = "pattern"


class NetworkName(click.ParamType):
    """The name of a published network that `get` has a spec for."""

    name = "name"

    def __init__(self, get: Callable[[str], Any], known: Sequence[str]):
        self.get, self.known = get, known

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> str:
        try:
            self.get(value)
        except ValueError as error:
            self.fail(str(error), param, context)
        return str(value)

    def shell_complete(self, context: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self.known if name.startswith(incomplete)]


CLASSIFIER, SEGMENTER, DETECTOR = (
    NetworkName(TASKS[kind].get, [*TASKS[kind].variants]) for kind in (ResNeStSpec, SegmentationSpec, DetectionSpec)
)
TRAINED = NetworkName(lambda name: presets_of(find(name)), [name for kind in PRESETS for name in TASKS[kind].variants])
NETWORK = NetworkName(find, [name for task in TASKS.values() for name in task.variants])


class Device(click.ParamType):
    """A device that a framework may have, as it is called in both: `gpu(0)` is `gpu:0`.

    Whether this machine has it is asked of the backend, before the command begins.
    """

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> str:
        found = re.fullmatch(r"([a-z]+)(?::([0-9]{1,3})|\(([0-9]{1,3})\))?", value)
        if not found or found[1] not in DEVICES:
            word = re.split(r"[:(]", value)[0]
            self.fail(f"there is no device {value!r}; {closest(word, DEVICES)}", param, context)
        number = found[2] or found[3]
        return found[1] if number is None else f"{found[1]}:{int(number)}"


def check_device(command: click.Command, values: Mapping[str, Any]) -> None:
    """ValueError where a command was given a device that its backend cannot use on this machine."""
    for param in command.params:
        device = values.get(param.name or "")
        if isinstance(param.type, Device) and device not in (None, "cpu"):
            from resnest.backends import registry
            from resnest.jobs.processes import own_device

            backend = values.get("backend") or registry.FIRST
            registry.load(backend).device_of(own_device(device))


def _unknown(what: str, word: object, known: Sequence[str]) -> str:
    return f"there is no {what} {word!r}; {closest(str(word), known)}"
