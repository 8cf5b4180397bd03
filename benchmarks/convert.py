"""How fast `resnest convert` rewrites resnest269 from .safetensors to .params, beside a plain copy of the file.

Both are timed in turns with the file in the page cache; the medians and their ratio are printed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from resnest import get_spec, weights
from resnest.weights.seeded import make_weight

BOUND = 2.5
"""Times a plain copy."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnest269")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source, target, copy = (Path(folder) / name for name in ("source.safetensors", "target.params", "copy"))
        tensors = get_spec(arguments.model).tensors()
        weights.save({name: make_weight(name, shape) for name, shape in tensors.items()}, source)
        works = partial(shutil.copyfile, source, copy), partial(weights.convert, source, target)
        times = [[seconds(work) for work in works] for _ in range(arguments.rounds + 1)][1:]  # the first warms up
        plain, converted = (statistics.median(column) for column in zip(*times))
        ratio = statistics.median(b / a for a, b in times)
        megabytes = source.stat().st_size / 1e6
    Console().print(
        f"{arguments.model}, {megabytes:.0f} MB: copied in {plain:.2f} s, converted in {converted:.2f} s"
        f" ({megabytes / converted:.0f} MB/s), {ratio:.2f} times the copy; bound: 500 MB/s and {BOUND} times"
    )


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
