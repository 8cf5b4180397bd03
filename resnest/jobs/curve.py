"""The same batches through training in every backend: how far do losses and weights drift apart, step by step?

No two frameworks draw the same random numbers, so dropout and DropBlock are off; whatever else is
drawn (policies, crops, colours, mixed pairs) is drawn before, once.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from resnest.backends import registry, training
from resnest.backends.training import Batch, Setup, Trainer, smoothed
from resnest.data.augment import Augment
from resnest.data.batches import mixed
from resnest.data.draws import generator
from resnest.jobs.parity import Difference, Progress, difference, with_channels
from resnest.jobs.pictures import figure
from resnest.specs.recipe import Recipe
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.update import UpdateRule, norms_and_biases, trained

CURVE_BOUND = {"float64": 1e-9, "float32": None}
"""Largest relative difference of a loss or of a weight after any step.

Float32 is shown and not judged: an activation within rounding of zero passes the ReLU in one backend and
not in the other, and every later step goes on from there.
"""


@dataclass(frozen=True)
class Point:
    """One step of a backend beside the first: the first's `loss`, its own `other`, and how far apart both are after it.

    `weights` is of the tensor that is furthest apart, relative to that tensor's largest value.
    """

    step: int
    backend: str
    loss: float
    other: float
    losses: Difference
    weights: Difference

    @property
    def within(self) -> bool:
        return self.losses.within and self.weights.within


def compare_curves(
    spec: ResNeStSpec,
    weights: Mapping[str, np.ndarray],
    batches: Iterable[Batch],
    rates: Sequence[float],
    rule: UpdateRule,
    dtype: str = "float64",
    progress: Progress = lambda _: None,
    backends: Sequence[str] | None = None,
) -> list[Point]:
    """One step on each of the `batches`, at the learning rate that `rates` has for it, in all `backends` side by side.

    The `backends` are all that train. Raises ValueError where fewer than two are asked for.
    """
    names = list(backends or training.trainers())
    if len(names) < 2:
        raise ValueError(f"a curve is compared with another one, and there is only {' '.join(names)}")
    opened: dict[str, Trainer] = {}
    for name in names:
        progress(f"{registry.row(name).title} gets ready")
        opened[registry.row(name).title] = training.load(name).open_trainer(spec, weights, rule, Setup(dtype=dtype))
    points = []
    for step, (batch, rate) in enumerate(zip(batches, rates), start=1):
        progress(f"step {step} of {len(rates)}")
        (_, loss, after), *others = [
            (title, trainer.value(trainer.step([batch], rate, step)), trainer.weights())
            for title, trainer in opened.items()
        ]
        for title, other_loss, other_after in others:
            bound = CURVE_BOUND[dtype]
            losses = difference("loss", np.array(other_loss), np.array(loss), bound, backend=title)
            apart = _furthest(spec, other_after, after, bound, title)
            points.append(Point(step, title, loss, other_loss, losses, apart))
    return points


def _furthest(spec: ResNeStSpec, a: Any, b: Any, bound: float | None, backend: str) -> Difference:
    rows = [difference(name, a[name], b[name], bound, backend=backend) for name in trained(spec)]
    return max(rows, key=lambda row: np.inf if np.isnan(row.relative) else row.relative)


RATE = 0.01
"""The learning rate after the warm-up: lively enough for eight images at once."""


def warmed_up(steps: int) -> list[float]:
    """A learning rate for each step: up to `RATE` in a quarter of the steps, then down to nothing as a cosine."""
    warm = max(steps // 4, 1)
    down = [RATE * (1 + math.cos(math.pi * step / (steps - warm))) / 2 for step in range(steps - warm)]
    return [RATE * (step + 1) / warm for step in range(warm)] + down


def rule(spec: ResNeStSpec) -> UpdateRule:
    """The authors' update rule: Nesterov's momentum, no decay of norms and biases."""
    return UpdateRule(nesterov=True, undecayed=norms_and_biases(spec))


def draw_batches(
    photo: Image.Image, recipe: Recipe, spec: ResNeStSpec, steps: int, dtype: str, images: int = 8, seed: int = 0
) -> Iterator[Batch]:
    """A batch for each of the `steps`, of one photo: augmented, labelled at random, smoothed and mixed by `recipe`.

    Each picture has its channels in another order and with another sign as well, because pictures of one photo are
    so much alike that inside split attention batch norms would divide by next to nothing (see `parity.training_batch`).
    """
    augment = Augment(recipe.augmentation, recipe.size)
    for step in range(steps):
        random = generator(seed, "order", step)
        pictures = [augment(photo, generator(seed, "sample", step, number)) for number in range(images)]
        turned = np.stack([picture[random.permutation(3)] * random.choice([-1, 1]) for picture in pictures])
        labels = random.integers(0, spec.num_classes, images)
        targets = smoothed(labels, spec.num_classes, recipe.label_smoothing, dtype)
        yield mixed(with_channels(turned, spec.in_channels).astype(dtype), targets, recipe.mixup, seed, step)


def growth(points: Sequence[Point]) -> dict[str, float]:
    """By what factor the weights' difference grows from step to step in each backend: the slope of its logarithm."""
    factors = {}
    for backend in dict.fromkeys(point.backend for point in points):
        own = [point for point in points if point.backend == backend and point.weights.relative]
        if len(own) > 1:
            logarithms = [math.log(point.weights.relative) for point in own]
            factors[backend] = math.exp(np.polyfit([point.step for point in own], logarithms, 1)[0])
    return factors


def plot(points: Sequence[Point], title: str, first: str, path: str | os.PathLike) -> None:
    """Draw the losses, those of the backend titled `first` too, to an `.svg` or `.png`.

    Below them stands how far apart losses and weights are. Raises ImportError without matplotlib.
    """
    drawn = figure(7.0, 6.0)
    above, below = drawn.subplots(2, sharex=True)
    above.set_title(title, fontsize=10)
    above.set_ylabel("loss")
    below.set_ylabel("relative difference")
    below.set_xlabel("step")
    below.set_yscale("log")
    for number, backend in enumerate(dict.fromkeys(point.backend for point in points)):
        own = [point for point in points if point.backend == backend]
        steps = [point.step for point in own]
        if number == 0:
            above.plot(steps, [point.loss for point in own], label=first, linewidth=3, alpha=0.4)
        above.plot(steps, [point.other for point in own], "--", label=backend)
        for what in ("losses", "weights"):
            apart = [getattr(point, what).relative or np.nan for point in own]
            below.plot(steps, apart, "." if what == "losses" else "-", label=f"{what}, {backend}")
    bound = points[0].weights.bound
    if bound is not None:
        below.axhline(bound, color="tab:red", linewidth=0.8, label="bound")
    above.legend()
    below.legend()
    drawn.savefig(path)
