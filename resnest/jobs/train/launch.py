"""Several processes on this machine that share one training, and what becomes of the others when one is lost."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, Any

from resnest.backends import training
from resnest.jobs.train.stopping import on_signals

JOINED = "RESNEST_JOINED"
"""This variable says that a process was started here."""

SECONDS_TO_END = 5
"""How long a process may take to end by itself when the others have."""


class LostProcess(ConnectionError):
    """A process of a training ended and nobody had asked it to."""


def launch(command: Sequence[str], number: int, backend: str) -> int:
    """Run `command` in `number` processes that train together, and give the exit status that all of them ended with.

    A signal that asks for the end is handed on to all of them. When one ends without having been asked to, the others
    are ended too, and it raises LostProcess; one that ended by itself, with a status and a sentence of its own, is
    what all of it ends with.
    """
    environments = training.joining(backend).environments(number, _free_port())
    started = [_Started(command, environment) for environment in environments]
    workers = started[:number]
    try:
        with on_signals() as stop:
            handed_on = False
            while any(worker.running for worker in workers):
                if stop() and not handed_on:
                    handed_on = True
                    for worker in workers:
                        worker.process.send_signal(signal.SIGTERM)
                if any(one.failed for one in started) and not handed_on:
                    break
                time.sleep(0.1)
            else:
                return max(worker.process.wait() for worker in workers)
            return _after_a_loss(started, number)
    finally:
        for one in started:
            one.end(SECONDS_TO_END)


def _after_a_loss(started: Sequence[_Started], number: int) -> int:
    """The status of the first process that failed by itself; LostProcess where one was killed."""
    for rank, one in enumerate(started):
        if one.process.returncode is not None and one.process.returncode < 0:
            what = f"process {rank + 1} of {number}" if rank < number else "a process that serves the others"
            name = signal.Signals(-one.process.returncode).name
            raise LostProcess(f"{what} was ended by {name}, and so are the others: go on with --resume")
    failed = next(one for one in started if one.failed)
    failed.tell()
    return int(failed.process.returncode)


class _Started:
    """A process, whose complaints are kept until they are asked for; those of the first are seen at once."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]):
        first = environment.get("RANK") == "0"
        self.complaints: IO[Any] | None = None if first else tempfile.TemporaryFile()  # noqa: SIM115  # as long as it
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment, JOINED: "1"},
            stdout=None if first else subprocess.DEVNULL,
            stderr=self.complaints,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def failed(self) -> bool:
        return not self.running and self.process.returncode != 0

    def tell(self) -> None:
        if self.complaints is not None:
            self.complaints.seek(0)
            sys.stderr.write(self.complaints.read().decode(errors="replace"))

    def end(self, seconds: float) -> None:
        """Ask it to end, and end it where it does not."""
        if self.running:
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of linux/prctl.h


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
