"""What `resnest train` adds to the bare loop of `resnest bench --train`: python benchmarks/training.py > FILE.

    python benchmarks/training.py [--model resnest50] [--batch 8] [--size 128] [--rounds 10]

Both train the same network at the same size, each in a process of its own, and take turns: an untimed step and a few
timed ones. The bare loop has the same random images in every step and PyTorch's or MXNet's plain SGD. `resnest train`
reads photos, augments and mixes them by the recipe that made the published weights (DropBlock off, which the bare loop
has none of), and writes its log. Memory is a process's at most. Then, from the start of the process to the end of its
first step: a training that starts, and one that goes on. What is counted are seconds of the processor on all threads
of the process, one of which computes: other work on the machine does not change them. PyTorch's loader has processes of
its own, MXNet's has threads, which are counted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

THREADS = 1
os.environ["OMP_NUM_THREADS"] = str(THREADS)  # read when a framework is imported

STEPS = 3
CLASSES = 8
IMAGES = 512
WORDS = ["workers=1", "evaluate_every=1000", "dropblock.prob=0", "epochs=300"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="resnest50")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--first-step", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    words = [*WORDS, f"batch={arguments.batch}", f"size={arguments.size}"]
    if arguments.first_step:
        first_step(arguments.model, words, *arguments.first_step)
    with tempfile.TemporaryDirectory() as folder:
        photos = multiprocessing.get_context("spawn").Process(target=make, args=(folder,))
        photos.start()
        photos.join()
        steps = compare_steps(arguments, Path(folder), words)
        starts = compare_starts(arguments, Path(folder))
    report(arguments, steps, starts)


def make(folder: str) -> None:
    from loader import make_photos

    make_photos(Path(folder) / "train", IMAGES)


def compare_steps(arguments: argparse.Namespace, folder: Path, words: list[str]) -> dict[tuple[str, str], Any]:
    """(Backend, loop) -> seconds of its steps, and its memory."""
    from resnest.backends import registry

    spawned: dict[tuple[str, str], Any] = {}
    context: Any = multiprocessing.get_context("spawn")
    for backend in registry.BACKENDS:
        for loop in (bare, trained):
            ours, theirs = context.Pipe()
            process = context.Process(target=loop, args=(theirs, backend, arguments, folder, words))
            process.start()
            theirs.close()  # so that one that fails is heard of
            ours.recv()
            spawned[backend, loop.__name__] = process, ours
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in spawned}
    for _ in range(arguments.rounds):
        for key, (_, pipe) in spawned.items():
            pipe.send(STEPS)
            seconds[key] += pipe.recv()
    found = {}
    for key, (process, pipe) in spawned.items():
        pipe.send(0)
        found[key] = seconds[key], pipe.recv()
        process.kill()
    return found


def bare(pipe: Any, backend: str, arguments: argparse.Namespace, folder: Path, words: list[str]) -> None:
    import numpy as np

    from resnest import get_spec
    from resnest.backends import registry

    spec = get_spec(arguments.model, num_classes=CLASSES)
    images = np.random.default_rng(0).normal(size=(arguments.batch, 3, arguments.size, arguments.size))
    step = registry.load(backend).bench_step(spec, "", images.astype(np.float32), threads=THREADS, train=True)
    turns = Turns(pipe, lambda: None)
    while True:
        step()
        turns()


def trained(pipe: Any, backend: str, arguments: argparse.Namespace, folder: Path, words: list[str]) -> None:
    from resnest.jobs.train.start import open_training

    training = open_training(arguments.model, folder, folder / f"{backend}-steps", backend=backend, words=words)
    turns = Turns(pipe, waiting(backend))
    training.listener = lambda moment: turns()
    training.run()


class Turns:
    """Called after every step: it times them, and at the end of a turn waits for the next."""

    def __init__(self, pipe: Any, wait: Callable[[], None]):
        self.pipe, self.wait = pipe, wait
        self.left = 2  # so many to warm up
        self.ends: list[float] = []

    def __call__(self) -> None:
        self.ends.append(time.process_time())
        if len(self.ends) < self.left:
            return
        self.wait()
        self.pipe.send([after - before for before, after in zip(self.ends, self.ends[1:])])
        steps = self.pipe.recv()
        if not steps:
            self.pipe.send(memory())
            time.sleep(60)  # until it is killed
        self.left, self.ends = steps + 1, []


def waiting(backend: str) -> Callable[[], None]:
    """What waits for all that the device still does."""
    if backend == "gluon":
        import mxnet

        return mxnet.nd.waitall
    return lambda: None


def memory() -> int:
    """Bytes that this process has had in memory at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def compare_starts(arguments: argparse.Namespace, folder: Path) -> dict[tuple[str, str], list[float]]:
    """(Backend, "start" or "resume") -> seconds to the first step's end; the first of each fills the cache."""
    from resnest.backends import registry

    found: dict[tuple[str, str], list[float]] = {}
    given = [f"--{name}={getattr(arguments, name)}" for name in ("model", "batch", "size")]
    for backend in registry.BACKENDS:
        subprocess.run([sys.executable, __file__, *given, "--first-step", "save", backend, str(folder)], check=True)
        for turn in range(4):
            for how in ("start", "resume"):
                began = children()
                command = [sys.executable, __file__, *given, "--first-step", how, backend, str(folder)]
                subprocess.run(command, check=True)
                if turn:
                    found.setdefault((backend, how), []).append(children() - began)
    return found


def children() -> float:
    """Seconds of the processor that ended children took."""
    return sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def first_step(model: str, words: list[str], how: str, backend: str, folder: str) -> None:
    """Train to the end of the first step, and end; with "save" as a signal would have it, with a checkpoint."""
    from resnest.jobs.train.start import open_training

    output = Path(folder) / (f"{backend}-new" if how == "start" else f"{backend}-saved")
    training = open_training(
        model, Path(folder), output, backend=backend, words=words if how != "resume" else (), resume=how == "resume"
    )
    wait = waiting(backend)

    def stopped() -> bool:
        wait()
        if how == "save":
            return True
        os._exit(0)

    training.stopped = stopped
    training.run(resume=how == "resume")
    sys.exit()


def report(arguments: argparse.Namespace, steps: dict[tuple[str, str], Any], starts: dict[Any, list[float]]) -> None:
    from resnest.jobs.bench.run import machine

    print(
        f"{machine()}, 1 thread, processor seconds; {arguments.model}, batch {arguments.batch} at {arguments.size}x",
        end="",
    )
    print(f"{arguments.size}; medians of {arguments.rounds} turns of {STEPS} steps, and of 3 starts.\n")
    print("| backend | bare step, s | step in `train`, s | ratio | bare memory, MB | `train`, MB | ratio |", end="")
    print(" start to first step, s | resume, s | ratio |\n|---|---|---|---|---|---|---|---|---|---|")
    for backend in dict.fromkeys(backend for backend, _ in steps):
        (plain, least), (ours, most) = steps[backend, "bare"], steps[backend, "trained"]
        turns = [
            median(ours[turn : turn + STEPS]) / median(plain[turn : turn + STEPS])
            for turn in range(0, len(ours), STEPS)
        ]
        new, again = (median(starts[backend, how]) for how in ("start", "resume"))
        cells = [f"{median(plain):.3f}", f"{median(ours):.3f}", f"{median(turns):.3f}"]
        cells += [f"{least / 1e6:.0f}", f"{most / 1e6:.0f}", f"{most / least:.3f}"]
        cells += [f"{new:.2f}", f"{again:.2f}", f"{again / new:.2f}"]
        print(f"| {backend} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
