"""Folders that hold a network: `config.json` with its spec, and its weights beside it.

`save_pretrained` of every network and `resnest train` write them.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resnest.weights.formats.atomic import replacing
from resnest.weights.recognition.tasks import TASKS

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "best.safetensors", "last.safetensors")
"""What the weights in a folder are called; of several the first is taken."""

CLASSES = "classes.txt"
"""The classes' names, one a line, in the order of the network."""


def weights_in(folder: Path) -> Path:
    """The weight file in a folder; FileNotFoundError where there is none."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"the folder {folder} holds none of {', '.join(WEIGHTS)}: give a weight file's name")


def write_spec(folder: Path, spec: Any, options: Mapping[str, Any] | None = None) -> None:
    """Write the spec of the weights in a folder, beside the `options` that its network is built with."""
    facts = {**(options or {}), "spec": dataclasses.asdict(spec)}
    with replacing(folder / CONFIG) as file:
        file.write(json.dumps(facts, indent=2).encode() + b"\n")


def spec_beside(weights: str | os.PathLike | None, name: str | None = None) -> Any | None:
    """The spec that stands beside a weight file; None where none does, or where it is not of a network called `name`.

    It tells what tensors do not: the activation, where it pools, how far a stage is dilated, the size of its images.
    """
    if weights is None:
        return None
    try:
        saved = json.loads(Path(weights).with_name(CONFIG).read_text())["spec"]
    except (OSError, ValueError, KeyError, TypeError):  # no file, or one of another library
        return None
    for task in TASKS:
        if matches(task.SPEC, saved):
            spec = task.SPEC(**saved)
            return spec if name in (None, spec.name) else None
    return None


def matches(kind: Any, saved: Any) -> bool:
    """Whether what was `saved` are the fields of a spec of this `kind`."""
    fields = dataclasses.fields(kind)
    needed = {field.name for field in fields if field.default is dataclasses.MISSING}
    return isinstance(saved, Mapping) and needed <= saved.keys() <= {field.name for field in fields}


def classes_beside(weights: str | os.PathLike, num_classes: int) -> list[str] | None:
    """The names of the classes in the order of the network, where they stand beside a weight file."""
    names = Path(weights).with_name(CLASSES)
    found = read_classes(names) if names.is_file() else []
    return found if len(found) == num_classes else None


def write_classes(folder: Path, names: Sequence[str]) -> None:
    """Write the names of the classes, in the order of the network, beside the weights in a folder."""
    with replacing(folder / CLASSES) as file:
        file.write("".join(f"{name}\n" for name in names).encode())


def read_classes(path: Path) -> list[str]:
    """The names in a file with one a line, whatever editor wrote it; ValueError where it is no text."""
    try:
        return path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8, as names of classes are: {error.reason}") from None
