"""Arithmetic of schedules, shared by both backends."""

from __future__ import annotations

from collections.abc import Callable


def check_probability(prob: float) -> float:
    """Give `prob` back as a float; ValueError unless it is in [0, 1)."""
    if not 0 <= prob < 1:
        raise ValueError(f"a drop probability of {prob!r} must be at least 0 and below 1")
    return float(prob)


def linear(total_steps: int, start: float, stop: float) -> Callable[[int], float]:
    """A function of the step that goes from `start` at 0 to `stop` at `total_steps` and stays there."""
    if total_steps < 1:
        raise ValueError(f"total_steps={total_steps!r} must be at least 1")
    check_probability(start)
    check_probability(stop)
    return lambda step: start + (stop - start) * min(step / total_steps, 1.0)
