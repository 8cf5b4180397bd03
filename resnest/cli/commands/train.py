"""`resnest train`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from resnest.backends import registry
from resnest.cli.options import pretrained_option, weight_file, which_option
from resnest.cli.paths import Input, Output, Weights
from resnest.cli.progress import Progress
from resnest.cli.terminal import Command, console, errors
from resnest.cli.values import THREADS, TRAINED, Setting, Word
from resnest.cli.yaml import yaml_lines
from resnest.specs import find


@click.command("train", cls=Command)
@click.argument("name", type=TRAINED)
@click.argument("words", nargs=-1, type=Setting(), metavar="[KEY=VALUE]...")
@click.option(
    "--data",
    type=Input("data set", folder=True),
    required=True,
    help="A folder with train/ and val/, or .rec files; of a detector COCO's folders, with annotations/.",
)
@click.option(
    "-o",
    "--output",
    type=Output("folder", file=False, folder=True),
    required=True,
    help="A folder to write everything into.",
)
@click.option("--backend", type=Word([*registry.BACKENDS]), help="Where to train; without it the first backend.")
@click.option("--weights", type=Weights(), help="A weight file to start from, of any classes.")
@pretrained_option
@which_option
@click.option("--config", type=Input("file of YAML"), help="A file of YAML with keys; `resnest recipe` makes one.")
@click.option("--resume", is_flag=True, help="Go on at the last checkpoint in --output; where there is none, start.")
@click.option(
    "--freeze-stages", type=click.IntRange(0, 5), help="Hold the stem (1), the stem and stage 1 (2), ... as they are."
)
@click.option("--freeze-norm", is_flag=True, help="Hold every batch norm as it is.")
@click.option("--processes", type=THREADS, default=1, help="Of this machine, that share each batch; torchrun's do too.")
@click.option("--dry-run", is_flag=True, help="Say what would happen, and how fast; write nothing.")
def command(
    name: str,
    words: tuple[str, ...],
    weights: Path | None,
    pretrained: str | None,
    freeze_stages: int | None,
    freeze_norm: bool,
    processes: int,
    dry_run: bool,
    **asked: Any,
) -> None:
    """Train the network NAME on a folder of images: of a classifier with a folder for each class, of a detector
    with COCO's annotations.

    Keys are those that `resnest recipe` prints, fields of the network (radix=4) and seed, workers, device, dtype,
    accumulate, clip, layer_decay, save_every, ... Ctrl-C and SIGTERM save and end.

    Example: resnest train resnest50 --data flowers/ --output run/ batch=32
    """
    if processes > 1 and not dry_run:
        _share(processes, asked["backend"], asked["output"] if asked["resume"] else None)
    from resnest.jobs.processes import process
    from resnest.jobs.train.start import open_training
    from resnest.jobs.train.stopping import on_signals

    network = find(name)
    weights = weight_file(getattr(network, "backbone", network).name, weights, pretrained)  # a detector's is ImageNet's
    words += () if freeze_stages is None else (f"freeze_stages={freeze_stages}",)
    words += ("freeze_norm=true",) if freeze_norm else ()
    with errors.status(f"{name}: images and weights"):
        training = open_training(name, words=words, weights=weights, **asked)
    if dry_run:
        _preview(training)
        return
    with on_signals() as stop, _shown(training, quiet=process() > 0):
        training.stopped = stop
        training.run(asked["resume"])
    if process() == 0:
        _say_the_end(training, asked["output"])
    if stop.signal and training.progress.step < training.steps:
        raise click.exceptions.Exit(128 + stop.signal)  # as shells have it


def _share(processes: int, backend: str | None, resumed: Path | None) -> None:
    """Let several processes run this command, and end as they do; one of those goes on.

    What is `resumed` from a folder goes on in its own backend.
    """
    from resnest.backends import registry, training
    from resnest.jobs.train.checkpoints import Checkpoints
    from resnest.jobs.train.launch import JOINED, launch

    known = None if resumed is None else Checkpoints(resumed / "checkpoints").backend()
    backend = backend or known or registry.FIRST
    if JOINED in os.environ:
        training.joining(backend)  # what only serves the others, as MXNet's servers do, never comes back from this
    else:
        raise click.exceptions.Exit(launch([sys.executable, "-m", "resnest", *sys.argv[1:]], processes, backend))


def _say_the_end(training: Any, output: Path) -> None:
    progress = training.progress
    if progress.step < training.steps:
        console.print(f"stopped and saved at step {progress.step} of {training.steps}: go on with --resume")
        return
    best = "" if progress.best_step is None else f"; the best, at step {progress.best_step}: {progress.best:.2f} %"
    console.print(f"{output} holds the weights and the curve of {training.steps} steps{best}", soft_wrap=True)


SECONDS_BETWEEN_LINES = 60
"""Where there is no terminal to draw a bar on."""


@contextlib.contextmanager
def _shown(training: Any, *, quiet: bool) -> Iterator[None]:
    """Inside, whatever the training tells is seen: a line for each evaluation, and a bar or a line every minute."""
    from resnest.jobs.train.log import told as told_of

    live, told_at = errors.is_terminal, time.monotonic()
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[told]}")
    with Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=errors, disable=quiet or not live
    ) as progress:
        task = progress.add_task(training.config.spec.name, total=training.steps, told="")
        rates: list[float] = []

        def show(moment: Any) -> None:
            row = moment.row
            rates.append(moment.images_per_second)
            del rates[:-20]
            rate = len(rates) / sum(1 / rate for rate in rates)
            told = f"epoch {row.epoch + 1} loss {row.loss:.4f} {rate:.1f} images/s"
            progress.update(task, completed=row.step, told=told)
            if quiet:
                return
            nonlocal told_at
            if not live and time.monotonic() - told_at > SECONDS_BETWEEN_LINES:
                told_at = time.monotonic()
                left = _hours((moment.steps - row.step) * training.config.recipe.batch / rate)
                console.print(f"step {row.step} of {moment.steps}: {told}, {left} left")
            if row.judged:
                judged = f"{told_of(row.judged)}, in training {row.loss:.4f}"
                console.print(f"epoch {row.epoch + 1}, step {row.step}: {judged}")

        training.listener = show
        yield


def _preview(training: Any) -> None:
    from resnest.jobs.train.preview import preview

    config, source, steps = training.config, training.source, training.steps
    recipe = config.recipe
    with errors.status("a few steps"):
        found = preview(training)
    for line in yaml_lines({**dataclasses.asdict(recipe), **dataclasses.asdict(config.run)}):
        click.echo(line)
    rates = [recipe.learning_rate(step, training.steps_per_epoch) for step in range(steps)]
    peak = rates.index(max(rates))
    click.echo(f"# {config.spec.name} in {registry.row(training.backend).title}: {source.training} images to train on,")
    click.echo(f"# {source.evaluation} to evaluate on, {source.classes} classes")
    click.echo(f"# steps: {steps}, {training.steps_per_epoch} an epoch")
    click.echo(f"# learning rate: {rates[0]:.3g} first, {rates[peak]:.3g} in step {peak + 1}, {rates[-1]:.3g} last")
    rate = recipe.batch / found.seconds
    click.echo(f"# {rate:.1f} images/s; {found.waiting:.0%} of the time is spent waiting for them")
    click.echo(f"# memory: {found.memory / 1e9:.2f} GB; time for all steps: {_hours(steps * found.seconds)}")


def _hours(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
