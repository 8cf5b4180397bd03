"""Where pictures of numbers are drawn."""

from __future__ import annotations

from typing import Any

PICTURES = (".svg", ".png")
"""What the name of a drawn picture ends with."""


def figure(width: float, height: float, extra: str = "bench") -> Any:
    """An empty figure, its sides in inches; ImportError, saying which `extra` has it, without matplotlib."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError(
            f"plots need matplotlib, and {error.name} is not installed: pip install 'resnest[{extra}]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")
