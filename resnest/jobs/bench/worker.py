"""One contender of `resnest bench`, in a process of its own: built once, then timed whenever the parent says so.

Each line on stdin is JSON: first the job (`contender, model, batch, size, threads, train, clock`),
answered with versions when the contender is ready; then a number of steps, answered with the seconds
that each took; 0 asks for the memory at most and ends it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

import numpy as np

from resnest.backends import registry
from resnest.backends.registry import Step
from resnest.jobs.bench.others import OTHERS
from resnest.specs.published import get_spec

WARM_UP = 2


def main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer

    def answer(value: Any) -> None:
        print(json.dumps(value), file=answers, flush=True)

    job = json.loads(sys.stdin.readline())
    os.environ["OMP_NUM_THREADS"] = str(job["threads"])  # read when a framework is imported
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[job.pop("clock")]
    step = build(**job)
    before = _resident()
    for _ in range(WARM_UP):
        step()
    answer({module: sys.modules[module].__version__ for module in _LIBRARIES if module in sys.modules})
    while steps := int(sys.stdin.readline()):
        seconds = []
        step()  # untimed: the others' turns have emptied the caches and put the threads to sleep
        for _ in range(steps):
            start = clock()
            step()
            seconds.append(clock() - start)
        answer(seconds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak *= 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB elsewhere
    answer({"peak": peak, "step": max(peak - before, 0)})


_LIBRARIES = ("numpy", "torch", "torchao", "timm", "mxnet", "gluoncv", "onnxruntime", "openvino", "nncf")


def build(contender: str, model: str, batch: int, size: int, threads: int, train: bool) -> Step:
    """The step of the contender called `contender`; ValueError for a name nobody has."""
    spec = get_spec(model)
    images = np.random.default_rng(0).normal(size=(batch, 3, size, size)).astype(np.float32)
    library, _, form = contender.partition(" ")
    for name, row in registry.BACKENDS.items():
        if library == row.package:
            return registry.load(name).bench_step(spec, form, images, threads=threads, train=train)
    if library not in OTHERS:
        raise ValueError(f"there is no contender {contender!r}")
    return OTHERS[library](spec, form, images, threads, train)


def _resident() -> int:
    """Bytes of memory in use now; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    main()
