"""The training recipes of all tasks, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from resnest.specs import recipe
from resnest.specs.arguments import closest
from resnest.specs.detection import recipe as detection
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.networks import Network, find
from resnest.specs.resnest import ResNeStSpec

PRESETS: dict[type, Mapping[str, Callable[[str], Any]]] = {
    ResNeStSpec: recipe.PRESETS,
    DetectionSpec: detection.PRESETS,
}
"""Kind of spec -> its recipes by name, each a function of a published network's name; the first where none is named."""

RECIPES: dict[type, type] = {ResNeStSpec: recipe.Recipe, DetectionSpec: detection.DetectionRecipe}
"""Kind of spec -> the kind of its recipes."""


def presets_of(spec: Network) -> Mapping[str, Callable[[str], Any]]:
    """The recipes for the network `spec` by name; ValueError where there are none."""
    if type(spec) not in PRESETS:
        raise ValueError(f"{spec.name} has no training recipe: classifiers and detectors have")
    return PRESETS[type(spec)]


def find_recipe(name: str, preset: str | None = None, **changes: Any) -> Any:
    """A recipe for the published network `name`: the `preset`, or the first, with fields replaced.

    Raises ValueError for a name or a preset that there is not.
    """
    presets = presets_of(find(name))
    preset = preset or next(iter(presets))
    if preset not in presets:
        raise ValueError(f"there is no recipe {preset!r} for {name}; {closest(preset, presets)}")
    return presets[preset](name).with_changes(**changes)
