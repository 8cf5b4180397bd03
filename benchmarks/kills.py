"""Kill a training 20 times at random moments, in saves too, go on each time, and compare what it ends with to the bit.

python benchmarks/kills.py [--kills 20] [--backend torch]
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from resnest import ResNeStSpec
from resnest.backends import training
from resnest.jobs.train.checkpoints import Checkpoints
from resnest.jobs.train.config import Config, Run
from resnest.jobs.train.run import Training
from resnest.jobs.train.source import Arrays
from resnest.specs.recipe import DropBlockRecipe, Recipe
from resnest.weights.seeded import first_weights

SPEC = ResNeStSpec("small", (1, 1, 1, 1), stem_width=8, bottleneck_width=4, num_classes=3)
RECIPE = Recipe(
    epochs=40, batch=4, size=33, eval_size=33, lr=0.05, lr_batch=None, nesterov=True, mixup=0.2, label_smoothing=0.1,
    final_drop=0.2, ema_decay=0.9, dropblock=DropBlockRecipe(0.1),
)  # fmt: skip  # one field a line reads no better


def images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(seed)
    return drawn.normal(size=(count, 3, 33, 33)).astype(np.float32), drawn.integers(0, 3, count)


def train(output: Path, backend: str) -> int:
    """Go on with the training in another process, whose number this is."""
    child = os.fork()
    if child:
        return child
    config = Config(SPEC, RECIPE, Run(save_every=1, evaluate_every=2))
    source = Arrays(images(21, 0), images(6, 1), 3, RECIPE)
    Training(config, source, output, backend, first_weights(SPEC)).run(resume=True)
    os._exit(0)


def ended(output: Path) -> dict[tuple[str, str], np.ndarray]:
    found = Checkpoints(output / "checkpoints").latest()
    assert found is not None
    return {(part, name): array for part, arrays in found.state.items() for name, array in arrays.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--backend", choices=training.trainers())
    arguments = parser.parse_args()
    for backend in [arguments.backend] if arguments.backend else training.trainers():
        training.load(backend)  # once, for all processes
        with tempfile.TemporaryDirectory() as folder:
            check(Path(folder), backend, arguments.kills)


def check(folder: Path, backend: str, kills: int) -> None:
    start = time.monotonic()
    os.waitpid(train(folder / "whole", backend), 0)
    taken = time.monotonic() - start
    drawn = random.Random(0)
    in_saves = killed = 0
    reached = []
    while killed < kills:
        child = train(folder / "killed", backend)
        time.sleep(drawn.uniform(0, 2 * taken / kills))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise SystemExit(f"{backend}: the training was over after {killed} kills: it is too short")
        killed += 1
        checkpoints = folder / "killed" / "checkpoints"
        reached.append(max(Checkpoints(checkpoints).steps(), default=0))
        in_saves += any(path.name.startswith(".") for path in checkpoints.iterdir()) if checkpoints.is_dir() else 0
    os.waitpid(train(folder / "killed", backend), 0)
    ours, theirs = ended(folder / "killed"), ended(folder / "whole")
    assert ours.keys() == theirs.keys()
    apart = [name for name in ours if ours[name].tobytes() != theirs[name].tobytes()]
    logs = [(folder / name / "log.csv").read_bytes() for name in ("killed", "whole")]
    print(
        f"{backend}: {killed} kills, {in_saves} of them in a save, after steps {' '.join(map(str, reached))} of 200;"
        f" {len(apart)} of {len(ours)} arrays differ; the logs are {'the same' if len(set(logs)) == 1 else 'not'}",
        flush=True,
    )
    if apart:
        raise SystemExit(f"not the same: {apart[:5]}")


if __name__ == "__main__":
    main()
