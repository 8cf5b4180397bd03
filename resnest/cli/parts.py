"""The parts of a network that tables add its layers and tensors up to."""

from __future__ import annotations


def part_of(name: str) -> str:
    """Which part of the network the layer or tensor called `name` is in."""
    first = name.removeprefix("backbone.").partition(".")[0]
    return "stem" if first in ("conv1", "bn1", "stem") else first
