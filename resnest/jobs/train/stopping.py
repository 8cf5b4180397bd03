"""Signals that ask a training to save and end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any


class Stop:
    """Whether a signal has asked for the end, and which: `signal` is 0 until then."""

    signal = 0

    def __call__(self) -> bool:
        return bool(self.signal)


@contextlib.contextmanager
def on_signals() -> Iterator[Stop]:
    """Inside, SIGTERM and the first Ctrl-C are noted; the second Ctrl-C ends everything at once, as ever."""
    stop = Stop()

    def note(number: int, frame: Any) -> None:
        stop.signal = number
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before: dict[signal.Signals, Callable[..., Any] | int | None] = {
        number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
