"""The published classifiers by name, and timm's names for them."""

from __future__ import annotations

from typing import Any

from resnest.specs.arguments import closest, with_changes
from resnest.specs.resnest import ResNeStSpec


def _fast(radix: int, cardinality: int, width: int) -> ResNeStSpec:
    """A ResNeSt-50 of the paper's ablation: 2s1x64d is radix 2, cardinality 1, width 64."""
    name = f"resnest50_fast_{radix}s{cardinality}x{width}d"
    return ResNeStSpec(name, (3, 4, 6, 3), radix, cardinality, width, avd_first=True)


VARIANTS: dict[str, ResNeStSpec] = {
    spec.name: spec
    for spec in (
        ResNeStSpec("resnest14", (1, 1, 1, 1)),
        ResNeStSpec("resnest26", (2, 2, 2, 2)),
        ResNeStSpec("resnest50", (3, 4, 6, 3)),
        ResNeStSpec("resnest101", (3, 4, 23, 3), stem_width=64, image_size=256),
        ResNeStSpec("resnest200", (3, 24, 36, 3), stem_width=64, image_size=320),
        ResNeStSpec("resnest269", (3, 30, 48, 8), stem_width=64, image_size=416),
        _fast(1, 1, 64),
        _fast(2, 1, 64),
        _fast(4, 1, 64),
        _fast(1, 2, 40),
        _fast(2, 2, 40),
        _fast(4, 2, 40),
        _fast(1, 4, 24),
    )
}
"""The published networks, by name."""

ALIASES = {
    "resnest14d": "resnest14",
    "resnest26d": "resnest26",
    "resnest50d": "resnest50",
    "resnest101e": "resnest101",
    "resnest200e": "resnest200",
    "resnest269e": "resnest269",
    "resnest50d_4s2x40d": "resnest50_fast_4s2x40d",
    "resnest50d_1s4x24d": "resnest50_fast_1s4x24d",
}
"""timm's names for the same networks."""


def list_models() -> list[str]:
    """Names of the published networks, small to large."""
    return list(VARIANTS)


def get_spec(name: str, **changes: Any) -> ResNeStSpec:
    """The spec called `name` (timm's names work too), with the fields in `changes` replaced.

    Raises ValueError for a name nobody published or for values that make no network, and
    TypeError for a field that a spec does not have; each names the closest right word.
    """
    spec = VARIANTS.get(ALIASES.get(name, name))
    if spec is None:
        raise ValueError(f"there is no model called {name!r}; {closest(name, [*VARIANTS, *ALIASES])}")
    return with_changes(spec, name, changes)
