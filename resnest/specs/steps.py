"""What the training recipes of all tasks have in common, and the checks of their fields."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar, cast

from resnest.specs.arguments import unexpected
from resnest.specs.update import Named, UpdateRule, norms_and_biases


class Steps:
    """What recipes of all tasks say of their updates.

    `batch` is the images of one, over all processes and accumulated parts; of an epoch the last, smaller batch is left
    out where `drop_last`. `lr` is the learning rate for `lr_batch` images and grows in proportion to the batch; without
    an `lr_batch` it is the learning rate itself.
    """

    batch: int
    drop_last: bool
    lr: float
    lr_batch: int | None
    momentum: float
    nesterov: bool
    weight_decay: float
    decay_norms_and_biases: bool

    sync_norms = False
    """Whether processes on GPUs share a batch's statistics where nothing else is said."""

    @property
    def peak_lr(self) -> float:
        """The learning rate at the end of the warm-up, for this batch."""
        return self.lr if self.lr_batch is None else self.lr * self.batch / self.lr_batch

    def steps_per_epoch(self, images: int) -> int:
        """Updates in an epoch of `images`; ValueError where they make no batch, or leave a last one of one image."""
        if images < 1 or (self.drop_last and images < self.batch):
            raise ValueError(f"batch={self.batch} is more than the {images} images there are: give a smaller one")
        full, left = divmod(images, self.batch)
        if self.drop_last or not left:
            return full
        if left == 1:
            raise ValueError(
                f"batch={self.batch} leaves a last batch of one of the {images} images, which batch norm cannot"
                " learn from: give another batch, or drop_last=true"
            )
        return full + 1

    def with_changes(self: Kind, **changes: Any) -> Kind:
        """The same recipe with fields replaced; one that has fields itself takes a mapping of them.

        Raises TypeError for a field that there is not, with the closest ones, and ValueError for a bad value.
        """
        return cast(Kind, _changed(self, "a recipe", changes))

    def rule(self, spec: Named, **changes: Any) -> UpdateRule:
        """How the network's tensors are updated; `changes` are fields of `UpdateRule` that are no recipe's.

        Unless `decay_norms_and_biases`, norms and biases have no decay, the classifier's too, as in the authors'
        Gluon script. (Their PyTorch script looks for 'bn' and 'bias' in the name, and so decays norms in the stem and
        in shortcuts; taken for an oversight.)
        """
        undecayed = () if self.decay_norms_and_biases else norms_and_biases(spec)
        return UpdateRule(self.momentum, self.nesterov, self.weight_decay, undecayed, **changes)


Kind = TypeVar("Kind", bound=Steps)


def _changed(part: Any, title: str, changes: dict[str, Any]) -> Any:
    known = {known.name: getattr(part, known.name) for known in dataclasses.fields(part)}
    for word, value in changes.items():
        if word not in known:
            raise TypeError(unexpected(title, word, known))
        if dataclasses.is_dataclass(known[word]) and not dataclasses.is_dataclass(value):
            changes = changes | {word: _changed(known[word], f"{title}'s {word}", dict(value))}
    return dataclasses.replace(part, **changes)


def one_of(part: Any, name: str, known: tuple[str, ...]) -> None:
    if getattr(part, name) not in known:
        raise ValueError(f"{name}={getattr(part, name)!r} must be one of {', '.join(known)}")


def at_least(part: Any, least: int, *names: str, whole: bool = False) -> None:
    for name in names:
        value = getattr(part, name)
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value < float("inf"):
            raise ValueError(f"{name}={value!r} must be a{' whole' if whole else ''} number, at least {least}")


def true_or_false(part: Any, *names: str) -> None:
    for name in names:
        if not isinstance(getattr(part, name), bool):
            raise ValueError(f"{name}={getattr(part, name)!r} must be True or False")
