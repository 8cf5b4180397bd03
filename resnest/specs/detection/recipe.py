"""How a detector is trained, in plain Python. Source: the eight ResNeSt configs of mmdetection 3.3.0."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from resnest.specs.detection.published import get_detection_spec
from resnest.specs.steps import Steps, at_least, true_or_false
from resnest.specs.update import UpdateRule


@dataclass(frozen=True)
class DetectionRecipe(Steps):
    """A training recipe of a detector.

    The learning rate rises in `warmup_steps` from `warmup_from` of it, in a straight line, and is multiplied by `gamma`
    after each epoch of `milestones`. A photo is resized to fit `long_side` and a short side that is drawn from
    `short_sides`, both included, every `short_step` pixels; it is mirrored with probability `flip`. Photos come
    `group` by group, all wide or all high, so that little of a batch is padding. Photos with a side below `min_side`
    are left out, and where `filter_empty` those without any annotation. `sync_norms` says that processes on GPUs share
    the statistics of a batch. `ema_decay` 0 keeps no moving average of the weights. Raises ValueError that names field
    and value.
    """

    epochs: int = 12
    batch: int = 16
    drop_last: bool = True
    lr: float = 0.02
    lr_batch: int | None = 16
    warmup_steps: int = 500
    warmup_from: float = 0.001
    milestones: tuple[int, ...] = (8, 11)
    gamma: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_norms_and_biases: bool = True
    ema_decay: float = 0.0
    long_side: int = 1333
    short_sides: tuple[int, int] = (640, 800)
    short_step: int = 1
    flip: float = 0.5
    group: int = 2
    min_side: int = 32
    filter_empty: bool = True
    sync_norms: bool = True

    def __post_init__(self) -> None:
        for name in ("milestones", "short_sides"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # a tuple again, where a file gave a list
        at_least(self, 1, "epochs", "batch", "long_side", "short_step", "group", whole=True)
        at_least(self, 0, "warmup_steps", "min_side", whole=True)
        at_least(self, 0, "lr", "warmup_from", "gamma", "momentum", "weight_decay", "ema_decay", "flip")
        true_or_false(self, "drop_last", "nesterov", "decay_norms_and_biases", "filter_empty", "sync_norms")
        if self.lr_batch is not None:
            at_least(self, 1, "lr_batch", whole=True)
        for name, most in (("warmup_from", 1), ("flip", 1), ("gamma", 1)):
            if getattr(self, name) > most:
                raise ValueError(f"{name}={getattr(self, name)!r} must be at most {most}")
        if self.ema_decay >= 1:
            raise ValueError(f"ema_decay={self.ema_decay!r} must be below 1")
        whole = all(isinstance(side, int) for side in self.short_sides)
        if len(self.short_sides) != 2 or not whole or not 0 < self.short_sides[0] <= self.short_sides[1]:
            raise ValueError(f"short_sides={self.short_sides!r} must be two sides in pixels, the smaller one first")
        if self.short_sides[1] > self.long_side:
            raise ValueError(f"short_sides={self.short_sides!r} must be at most long_side={self.long_side!r}")
        if not all(isinstance(epoch, int) and epoch > 0 for epoch in self.milestones):
            raise ValueError(f"milestones={self.milestones!r} must be whole numbers of epochs, at least 1")
        UpdateRule(self.momentum, self.nesterov, self.weight_decay)

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of update `step`, counted from 0 and over all epochs."""
        rate = self.peak_lr * self.gamma ** sum(step // steps_per_epoch >= epoch for epoch in self.milestones)
        last = self.warmup_steps - 1  # the step that has all of it
        return rate if step >= last else rate * (self.warmup_from + (1 - self.warmup_from) * step / last)


def mmdetection(name: str) -> DetectionRecipe:
    """What made the published weights of the detector `name`: 8 GPUs with 2 photos each, 12 epochs of COCO.

    Where the last batch of an epoch is not full, mmdetection fills it up with photos from the epoch's beginning;
    here it is left out.
    """
    return DetectionRecipe(short_step=32 if get_detection_spec(name).has_masks else 1)


PRESETS: dict[str, Callable[[str], DetectionRecipe]] = {"mmdetection": mmdetection}
"""The recipes by name; each is a function of a published detector's name."""
