"""A training from its first step, or from its last checkpoint, to its end."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import resnest.weights
from resnest.backends import training
from resnest.backends.training import Batch, Trainer
from resnest.data.batches import Batches
from resnest.jobs.processes import process, processes
from resnest.jobs.train.checkpoints import Checkpoint, Checkpoints
from resnest.jobs.train.config import Config
from resnest.jobs.train.log import Log, Row
from resnest.jobs.train.source import Broken, Source
from resnest.jobs.train.tasks import task_of
from resnest.weights.saved import write_classes, write_spec

logger = logging.getLogger(__name__)


class Diverged(ValueError):
    """The loss is no number any more."""


@dataclass(frozen=True)
class Moment:
    """What a training that is under way tells: the last `row`, of how many `steps`, and images per second."""

    row: Row
    steps: int
    images_per_second: float


Listener = Callable[[Moment], None]


@dataclass
class Progress:
    """Where a training is, beside the trainer's own state: all that a checkpoint keeps of it as JSON."""

    step: int = 0
    best_step: int | None = None
    best: float = -1.0
    """The first figure of the task's evaluation, in percent."""


@dataclass
class Training:
    """A training of the network and recipe in `config` on the images of `source`, which writes into `output`.

    `stopped` is asked after every step whether to save and end.
    """

    config: Config
    source: Source
    output: Path
    backend: str
    weights: Mapping[str, np.ndarray]
    listener: Listener = lambda _: None
    stopped: Callable[[], bool] = lambda: False
    progress: Progress = field(default_factory=Progress)
    checkpoint: Checkpoint | None = None
    """What to go on from, where it is read already."""

    def __post_init__(self) -> None:
        recipe, run = self.config.recipe, self.config.run
        self.task = task_of(self.config.spec)
        self.steps_per_epoch = recipe.steps_per_epoch(self.source.training)
        self.steps = recipe.epochs * self.steps_per_epoch
        self.keys = Batches(
            self.source.training,
            recipe.batch,
            recipe.epochs,
            run.seed,
            recipe.drop_last,
            process(),
            processes(),
            run.accumulate,
            grouping=self.source.grouping,
        )
        parts = processes() * run.accumulate
        if recipe.batch == parts:
            raise ValueError(f"batch={recipe.batch} in {parts} parts leaves one image each, which has no variance")
        self.checkpoints = Checkpoints(self.output / "checkpoints")

    def open(self) -> Trainer:
        """The backend's trainer, with the weights to begin with."""
        setup = self.config.setup(self.task.options(self.config))
        return training.load(self.backend).open_trainer(self.config.spec, self.weights, self.config.rule(), setup)

    def run(self, resume: bool = False) -> Row | None:
        """Train to the end, and give the last row; None where it was stopped, or there was nothing left to do.

        The weights at the end are in `last.safetensors`, the best ones of all evaluations in `best.safetensors`: of
        the moving average, where there is one. Raises Diverged at the first loss that is no number, and OSError where
        the last checkpoint cannot be written. At an image to train on that cannot be read it saves, and raises Broken.
        """
        trainer = self.open()
        self.weights = {}  # which would stay beside the trainer's own as long as it trains
        if resume:
            self.resume(trainer)
        log = None
        if process() == 0:
            self.output.mkdir(parents=True, exist_ok=True)
            log = Log(self.output, self.progress.step, self.config.run.tensorboard, self.task.JUDGED)
            if self.source.names is not None:
                write_classes(self.output, self.source.names)
            self._write_spec()
        try:
            row = self._steps(trainer, log)
            if self.progress.step == self.steps:
                self._write(trainer, "last")
            return row
        finally:
            if log is not None:
                log.close()

    def resume(self, trainer: Trainer) -> None:
        """Go on at the last checkpoint that is whole, if there is one."""
        found, self.checkpoint = self.checkpoint or self.checkpoints.latest(), None
        if found is None:
            return
        for what, here in (("images", self.source.training), ("classes", self._names())):
            if found.facts[what] != here:
                raise ValueError(
                    f"the checkpoint was written in a training on the {what} {found.facts[what]}, and here are {here}:"
                    " give the same data, or start anew in another output"
                )
        trainer.load_state(found.state)
        self.progress = Progress(**found.facts["progress"])

    def save(self, trainer: Trainer) -> None:
        state = trainer.state()  # every process has a part in it
        if process() == 0:
            facts = {"backend": self.backend, "images": self.source.training, "classes": self._names()}
            facts |= {"config": self.config.facts(), "progress": dataclasses.asdict(self.progress)}
            self.checkpoints.save(Checkpoint(self.progress.step, state, facts), self.progress.best_step)

    def batches(self) -> Iterator[list[Batch]]:
        """This process's parts of every step that is left."""
        stream = self.source.batches(dataclasses.replace(self.keys, start=self.progress.step))
        while parts := list(itertools.islice(stream, self.config.run.accumulate)):
            yield parts

    def _steps(self, trainer: Trainer, log: Log | None) -> Row | None:
        recipe, run = self.config.recipe, self.config.run
        row = None
        pending: tuple[Row, Any] | None = None  # the device works while the loss before is read
        clock = _Clock(recipe.batch)
        try:
            for batches in self.batches():
                step = self.progress.step
                rate = recipe.learning_rate(step, self.steps_per_epoch)
                self.task.prepare_step(trainer, self.config, step, self.steps_per_epoch)
                loss = trainer.step(batches, rate, key_of(run.seed, step, process()))
                if pending is not None:
                    row = self._settle(trainer, *pending, log, clock)
                self.progress.step = step = step + 1
                pending = Row(step, (step - 1) // self.steps_per_epoch, rate, float("nan")), loss
                ends = step % self.steps_per_epoch == 0
                due = bool(run.save_every) and step % run.save_every == 0
                stopping = bool(trainer.total(np.array([float(self.stopped())]))[0])
                if ends or due or stopping:
                    judged = self._evaluate(trainer) if ends and self._evaluates(step) else {}
                    row = self._settle(trainer, *pending, log, clock, judged)
                    pending = None
                    self._save_or_say(trainer, last=stopping or step == self.steps)
                    if log is not None and judged:
                        log.draw()
                if stopping and step < self.steps:
                    return None
        except Broken as error:
            if pending is not None:
                self._settle(trainer, *pending, log, clock)
            raise self._kept(trainer, error) from None
        return row

    def _settle(
        self,
        trainer: Trainer,
        row: Row,
        loss: Any,
        log: Log | None,
        clock: _Clock,
        judged: Mapping[str, float] | None = None,
    ) -> Row:
        """Read the loss of a step, stop where it is no number, and write the step down."""
        value = trainer.value(loss)
        if not np.isfinite(value):
            steps = self.checkpoints.steps()
            last = (
                f"the last good checkpoint is {self.checkpoints.path(steps[-1])}" if steps else "there is no checkpoint"
            )
            raise Diverged(
                f"the loss is {value} at step {row.step} (epoch {row.epoch}, learning rate {row.lr:.3g}); {last}:"
                " give a smaller lr, a longer warm-up, or clip"
            )
        row = dataclasses.replace(row, loss=value, judged=judged or {})
        if log is not None:
            log.add(row)
        self.listener(Moment(row, self.steps, clock.images_per_second()))
        return row

    def _kept(self, trainer: Trainer, error: Broken) -> Broken:
        """The error with the way out, after the steps before it are saved."""
        if self.progress.step == 0:
            return Broken(f"{error}: replace it, or take it out")
        way_out = "replace it, and go on with --resume"
        if processes() > 1:  # the others are in a step that waits for this one
            return Broken(f"{error}: {way_out}")
        self.save(trainer)
        return Broken(f"{error}: {way_out}; step {self.progress.step} is saved")

    def _save_or_say(self, trainer: Trainer, last: bool) -> None:
        try:
            self.save(trainer)
        except OSError as error:
            if last:
                raise
            logger.warning("%s; the training goes on", error)

    def _evaluates(self, step: int) -> bool:
        epoch = step // self.steps_per_epoch
        return bool(self.source.evaluation) and (
            epoch % self.config.run.evaluate_every == 0 or epoch == self.config.recipe.epochs
        )

    def _evaluate(self, trainer: Trainer) -> dict[str, float]:
        """How good the network (its moving average, where there is one) is, the best of which is kept."""
        judged = self.task.evaluate(trainer, self.source, self.config)
        first = judged.get(self.task.JUDGED[0], -math.inf)
        if first > self.progress.best:
            self.progress.best, self.progress.best_step = first, self.progress.step
            self._write(trainer, "best")
        return judged

    def _write(self, trainer: Trainer, name: str) -> None:
        weights = trainer.weights(averaged=True)  # every process has a part in it
        if process() == 0:
            resnest.weights.save(weights, self.output / f"{name}.safetensors")

    def _write_spec(self) -> None:
        """Say beside the weights what network they are of, and what size it was evaluated at."""
        spec, size = self.config.spec, getattr(self.config.recipe, "eval_size", None)
        write_spec(self.output, spec if size is None else dataclasses.replace(spec, image_size=size))

    def _names(self) -> list[str] | None:
        return None if self.source.names is None else list(self.source.names)


def key_of(seed: int, step: int, process: int) -> int:
    """What everything drawn in this step follows from: 31 bits."""
    return int(np.random.SeedSequence((seed, step, process)).generate_state(1)[0] >> 1)


class _Clock:
    """Images per second since the last time that somebody asked."""

    def __init__(self, batch: int):
        self.batch = batch
        self.last = time.perf_counter()

    def images_per_second(self) -> float:
        now = time.perf_counter()
        rate, self.last = self.batch / (now - self.last), now
        return rate
