"""How long `create_model(name, weights=FILE)` takes, against reading the file and copying what was read.

    python benchmarks/load_weights.py [--model resnest269] [--rounds 9]

The files are written first, into a folder of their own, and are in the file cache when they are
read. Reading and creating take turns, so that what else the machine does hits both alike; medians
are compared. MXNet works in the background, so its clock stops when all of that is done.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from resnest import get_spec, weights
from resnest.weights.seeded import make_weight

BOUND = 1.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnest269")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    table = Table("backend", "format", "MB", "read and copy, s", "create_model, s", "ratio", "CPU ratio", box=None)
    with tempfile.TemporaryDirectory() as folder:
        arrays = {name: make_weight(name, shape) for name, shape in get_spec(arguments.model).tensors().items()}
        for suffix in (".safetensors", ".params"):
            path = Path(folder) / f"{arguments.model}{suffix}"
            weights.save(arrays, path)
            for backend, create in (("torch", create_torch), ("gluon", create_gluon)):
                plain, created = compare(
                    partial(read_and_copy, path), partial(create, arguments.model, path), arguments.rounds
                )
                ratios = [f"{b / a:.2f}" for a, b in zip(plain, created)]
                size = path.stat().st_size / 1e6
                table.add_row(backend, suffix, f"{size:.0f}", f"{plain[0]:.3f}", f"{created[0]:.3f}", *ratios)
    Console().print(table)
    Console().print(f"bound: {BOUND} times reading and copying")


def read_and_copy(path: Path) -> bytearray:
    return bytearray(path.read_bytes())


def create_torch(name: str, path: Path) -> Any:
    import resnest.torch

    return resnest.torch.create_model(name, weights=path)


def create_gluon(name: str, path: Path) -> Any:
    import resnest.gluon
    from resnest.gluon._mxnet import mx

    model = resnest.gluon.create_model(name, weights=path)
    mx.nd.waitall()
    return model


def compare(
    first: Callable[[], Any], second: Callable[[], Any], rounds: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The median (seconds on the clock, seconds of CPU) of each, taken in turns after one turn to warm up."""
    taken: tuple[list[tuple[float, float]], ...] = ([], [])
    for turn in range(rounds + 1):
        for work, times in zip((first, second), taken):
            wall, cpu = time.perf_counter(), time.process_time()
            result = work()
            if turn:
                times.append((time.perf_counter() - wall, time.process_time() - cpu))
            del result
    (a, b), (c, d) = ([statistics.median(column) for column in zip(*times)] for times in taken)
    return (a, b), (c, d)


if __name__ == "__main__":
    main()
