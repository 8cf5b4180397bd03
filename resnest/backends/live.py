"""What a live network is, after whatever was done to it since it was built.

A folder on the hub and the deploy form are built from a spec. Each backend says here what its network
has become, and what no spec says is refused instead of being left out.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from resnest.specs.resnest import ResNeStSpec

WAY_OUT = "save the weights alone, with resnest.weights.save(get_weights(model), FILE)"


def renormed(spec: Any, norms: Mapping[str, Mapping[str, float | None]]) -> Any:
    """`spec` with the numbers of the batch norms, by name; ValueError where they differ, or where one is None."""
    changes: dict[str, Any] = {}
    owner: dict[str, str] = {}
    for norm, numbers in norms.items():
        for field, value in numbers.items():
            if changes.setdefault(field, value) != value:
                raise ValueError(
                    f"{norm} has {field}={value!r} and {owner[field]} {changes[field]!r}, and a config.json says one"
                    f" for all: {WAY_OUT}"
                )
            owner.setdefault(field, norm)
            if value is None:
                raise ValueError(f"{norm} has {field}=None, and a config.json says a number: set one, or {WAY_OUT}")
    return spec.renormed(**changes)


def built_from_spec(network: Any, spec: ResNeStSpec) -> Any:
    """`network` rebuilt for `spec`; ValueError for a subclass that a spec alone does not build."""
    try:
        return network.rebuilt(spec)
    except TypeError as error:
        raise ValueError(
            f"{type(network).__name__} cannot be built from a spec ({error}): give it a classmethod"
            " from_spec(spec, **options) that returns a network of its kind"
        ) from error


def changed(name: str, ours: Any, built: Any, spec: ResNeStSpec) -> ValueError:
    """The error for a module that is not what the spec says."""
    its = ", which computes something else" if _line(ours) == _line(built) else ""
    return ValueError(
        f"{name} is {_line(ours)}{its} where {spec.name} has {_line(built)}, and what is built from its spec would not"
        f" predict the same: predict with the model as it is, and {WAY_OUT}"
    )


def _line(module: Any) -> str:
    return textwrap.shorten(repr(module), 120, placeholder=" ...")
