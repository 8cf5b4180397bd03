"""Values as lines of YAML, as people write it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def yaml_lines(values: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Numbers, words, pairs and mappings of them as lines of YAML, which says itself what is which."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield f"{indent}{key}:"
            yield from yaml_lines(value, indent + "  ")
        elif isinstance(value, tuple):
            yield f"{indent}{key}: [{', '.join(map(scalar, value))}]"
        else:
            yield f"{indent}{key}: {scalar(value)}"


def scalar(value: object) -> str:
    """A number or a word as YAML 1.1 reads it back: 1e-05 without a point would be a word."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    return text.replace("e", ".0e") if isinstance(value, float) and "." not in text else text
