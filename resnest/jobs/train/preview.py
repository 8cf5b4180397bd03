"""What a training would take: a few of its steps, of which nothing stays."""

from __future__ import annotations

import time
from dataclasses import dataclass

from resnest.jobs.train.run import Training, key_of


@dataclass(frozen=True)
class Preview:
    """Seconds that a step takes, and what part of them it waits for its batch; bytes of memory at most."""

    seconds: float
    waiting: float
    memory: int


def preview(training: Training, steps: int = 3) -> Preview:
    """Train `steps` steps, after one that warms up, and write nothing."""
    trainer = training.open()
    batches = training.batches()
    waited = 0.0
    start = time.perf_counter()
    for step in range(steps + 1):
        before = time.perf_counter()
        parts = next(batches, None)
        if parts is None:  # a training of fewer steps than that
            break
        waited += time.perf_counter() - before
        rate = training.config.recipe.learning_rate(step, training.steps_per_epoch)
        trainer.value(trainer.step(parts, rate, key_of(training.config.run.seed, step, 0)))
        if step == 0 < training.steps - 1:
            start, waited = time.perf_counter(), 0.0
    taken = time.perf_counter() - start
    return Preview(taken / max(min(steps, training.steps - 1), 1), waited / taken, trainer.memory())
