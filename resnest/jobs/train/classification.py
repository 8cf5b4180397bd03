"""Training of classifiers: folders of images, top-1 accuracy."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from resnest.backends import training
from resnest.backends.choose import choose
from resnest.backends.training import Trainer
from resnest.data.samples import Source as Images
from resnest.data.samples import open_split
from resnest.jobs.processes import process, processes
from resnest.jobs.train.config import Config
from resnest.jobs.train.source import Photos, Source
from resnest.jobs.verify.accuracy import accuracy, guesses
from resnest.specs.resnest import ResNeStSpec
from resnest.weights.seeded import first_weights

logger = logging.getLogger(__name__)

SPEC = ResNeStSpec
"""The kind of spec that this task has."""

JUDGED = ("top1", "top5", "eval_loss")

Data = tuple[Images, Images | None]


def open_data(data: Path) -> Data:
    """The images to train on and, where there are any, to evaluate on."""
    learned = open_split(data, "train")
    if not (data / "val").is_dir() and not (data / "val.rec").exists():
        logger.warning("%s holds no val: there is nothing to evaluate on", data)
        return learned, None
    return learned, open_split(data, "val", learned.classes)


def classes_of(data: Data) -> int | None:
    learned, _ = data
    return None if learned.classes is None else len(learned.classes)


def open_source(config: Config, data: Data, backend: str) -> Photos:
    spec, recipe, run = config.spec, config.recipe, config.run
    for size in (recipe.size, recipe.eval_size):
        spec.check_size(size, size)
    if spec.in_channels != 3:
        raise ValueError(f"in_channels={spec.in_channels!r}: images in files have 3, red, green and blue")
    load = partial(training.loading(backend).load, workers=run.workers, device=run.device)
    return Photos(*data, spec.num_classes, recipe, run.seed, load)


def start(config: Config, weights: Path | None, which: str | None) -> Mapping[str, np.ndarray]:
    spec: Any = config.spec
    found = choose(spec, False, weights, None, ("num_classes", "in_channels"), which=which)
    return found or first_weights(spec, config.run.seed, config.recipe.last_gamma)


def options(config: Config) -> dict[str, Any]:
    """What makes the network drop what the recipe says."""
    recipe = config.recipe
    options: dict[str, Any] = {}
    if recipe.final_drop:
        options["final_drop"] = recipe.final_drop
    drops = recipe.dropblock
    if drops.prob:
        options |= {"dropblock_prob": drops.prob, "dropblock_place": drops.place, "dropblock_mask": drops.mask}
    return options


def prepare_step(trainer: Trainer, config: Config, step: int, steps_per_epoch: int) -> None:
    if config.recipe.dropblock.prob:
        trainer.drop_blocks(config.recipe.dropblock_prob(step, steps_per_epoch))


def evaluate(trainer: Trainer, source: Source, config: Config) -> dict[str, float]:
    """Top-1 and top-5 in percent and the mean loss over all evaluation images, each of them seen once.

    Images that cannot be read are in none of these, and a warning names them.
    """
    own = np.arange(source.evaluation)[process() :: processes()]
    size = max(config.recipe.batch // processes(), 1)
    sums, missed = np.zeros(4), np.zeros(source.evaluation)
    reasons: dict[int, str] = {}
    parts = [own[start : start + size] for start in range(0, len(own), size)]
    for images, labels, unreadable in source.evaluated(parts):
        reasons |= unreadable
        if len(labels) == 0:
            continue
        logits, labels = trainer.predict(images, averaged=True).astype(np.float64), np.asarray(labels)
        judged = accuracy(guesses(logits), labels)
        shifted = logits - logits.max(1, keepdims=True)
        losses = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]
        sums += [judged.first, judged.five, losses.sum(), len(labels)]
    missed[[*reasons]] = 1
    totals = trainer.total(np.concatenate([sums, missed]))
    if process() == 0:
        _say_unreadable(source, np.flatnonzero(totals[4:]).tolist(), reasons)
    top1, top5, loss, seen = totals[:4].tolist()
    return {"top1": 100 * top1 / seen, "top5": 100 * top5 / seen, "eval_loss": loss / seen} if seen else {}


def _say_unreadable(source: Source, numbers: list[int], reasons: Mapping[int, str]) -> None:
    for number in numbers:  # the reasons of other processes' images they know alone
        logger.warning("not counted: %s", reasons.get(number, f"{source.name(number)} cannot be read"))
    if numbers:
        logger.warning(
            "%d of %d images to evaluate on cannot be read and are in no accuracy", len(numbers), source.evaluation
        )
