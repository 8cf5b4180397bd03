"""How long `resnest predict` of one photo takes, against importing PyTorch, reading the weights and predicting once.

    python benchmarks/predict.py [--model resnest50] [--rounds 9]

Both are processes of their own that take turns, so that what else the machine does hits both alike; the files are in
the file cache. The bare one is as short as it can be written with this package.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console
from rich.table import Table

from resnest import get_spec, weights
from resnest.weights.seeded import make_weight

BOUND = 1.2

BARE = """
import sys
import torch
from resnest.data.photos import load_image
from resnest.torch import create_model
model = create_model(sys.argv[1], weights=sys.argv[2]).eval()
with torch.inference_mode():
    print(int(model(torch.from_numpy(load_image(sys.argv[3], 224))).argmax()))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="resnest50")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        as_file(files("resnest") / "data" / "assets" / "chelsea.jpg") as photo,
    ):
        path = Path(folder) / f"{arguments.model}.safetensors"
        weights.save(
            {name: make_weight(name, shape) for name, shape in get_spec(arguments.model).tensors().items()}, path
        )
        commands = {
            "import, load, predict": [sys.executable, "-c", BARE, arguments.model, str(path), str(photo)],
            "resnest predict": [sys.executable, "-m", "resnest", "predict", str(photo), "--weights", str(path)],
        }
        taken = compare(list(commands.values()), arguments.rounds)
    table = Table("what", "s", "CPU s", box=None)
    for what, (wall, cpu) in zip(commands, taken):
        table.add_row(what, f"{wall:.2f}", f"{cpu:.2f}")
    (a, b), (c, d) = taken
    Console().print(table)
    Console().print(f"ratio {c / a:.2f} on the clock, {d / b:.2f} of CPU; bound {BOUND}")


def compare(commands: list[list[str]], rounds: int) -> list[tuple[float, float]]:
    """The median (seconds on the clock, seconds of CPU) of each command, taken in turns after one to warm up."""
    taken: list[list[tuple[float, float]]] = [[] for _ in commands]
    for turn in range(rounds + 1):
        for command, times in zip(commands, taken):
            before, wall = os.times(), time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            after = os.times()
            cpu = sum(after[2:4]) - sum(before[2:4])
            if turn:
                times.append((time.perf_counter() - wall, cpu))
    return [tuple(statistics.median(column) for column in zip(*times)) for times in taken]


if __name__ == "__main__":
    main()
