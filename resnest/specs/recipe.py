"""How a network is trained, in plain Python: the recipe that both backends read.

A `Recipe` holds every number of a training run but its seed, its data and its machines. The authors
published three recipes that disagree; a preset (`PRESETS`) is one of them, and its function says what
was decided where sources contradict each other.

Sources: the authors' Gluon script (github.com/zhanghang1989/ResNeSt, scripts/gluon/train.py) with the
commands that made the published weights (github.com/dmlc/web-data, gluoncv/logs/classification/imagenet),
their PyTorch script (scripts/torch/train.py) and PyTorch-Encoding (github.com/zhanghang1989/PyTorch-Encoding,
docs/source/model_zoo/imagenet.rst).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, cos, isfinite, pi
from typing import Any

from resnest.specs.arguments import closest
from resnest.specs.published import get_spec
from resnest.specs.resnest import BICUBIC_FROM
from resnest.specs.schedule import check_probability
from resnest.specs.steps import Steps, at_least, one_of, true_or_false
from resnest.specs.update import UpdateRule

LONGEST_SIDE = 16384
"""Pixels of a side, at most: above it a batch of one image fits into no memory."""


@dataclass(frozen=True)
class Augmentation:
    """What happens to a photo before a network trains on it, in the order of the fields.

    `auto` is a policy for the whole photo: "autoaugment" (the authors' 25 sub-policies for ImageNet),
    "randaugment" (`operations` of them, at `level` out of 30) or "none". `crop` is "inception" (a box of
    `area` and `ratio` drawn evenly, and log-evenly), "efficientnet" (the same after TensorFlow's
    sample_distorted_bounding_box, at least a tenth of the photo) or "centre" (the evaluation's, nothing is
    drawn); after `tries` boxes that do not fit it is the centre. The box is resized by `interpolation`
    ("bilinear" or "bicubic"), over all pixels that shrink into one where `antialias`, or as OpenCV samples
    them. Then it is mirrored with probability `flip`, its brightness, contrast and saturation are scaled
    by 1 - `jitter` to 1 + `jitter` in any order, and noise of deviation `lighting` is added along the
    principal colours of ImageNet. Raises ValueError that names field and value.
    """

    auto: str = "none"
    operations: int = 2
    level: int = 12
    crop: str = "inception"
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    tries: int = 10
    interpolation: str = "bilinear"
    antialias: bool = True
    flip: float = 0.5
    jitter: float = 0.0
    lighting: float = 0.0

    def __post_init__(self) -> None:
        one_of(self, "auto", ("autoaugment", "randaugment", "none"))
        one_of(self, "crop", ("inception", "efficientnet", "centre"))
        one_of(self, "interpolation", ("bilinear", "bicubic"))
        for name in ("area", "ratio"):
            pair = tuple(getattr(self, name))
            if len(pair) != 2 or not all(map(isfinite, pair)) or not 0 < pair[0] <= pair[1]:
                raise ValueError(f"{name}={pair!r} must be two numbers above 0, the smaller one first")
            object.__setattr__(self, name, pair)  # a tuple again, where a file gave a list
        at_least(self, 1, "operations", "tries", whole=True)
        at_least(self, 0, "level", whole=True)
        at_least(self, 0, "flip", "jitter", "lighting")
        true_or_false(self, "antialias")
        for name, most in (("flip", 1), ("jitter", 1), ("level", 30)):
            if getattr(self, name) > most:
                raise ValueError(f"{name}={getattr(self, name)!r} must be at most {most}")
        if self.area[1] > 1:
            raise ValueError(f"area={self.area!r} must be parts of the photo, at most 1")


STAIRS = 100
"""Of a ramp by training steps, at most: MXNet has the probability in its graph, and traces it anew at each."""


@dataclass(frozen=True)
class DropBlockRecipe:
    """How blocks of stages 3 and 4 are dropped; `prob` 0 drops none.

    `place` is "inside" the split attention, after its first norm, as in the authors' PyTorch code, or "after"
    it, on its output, as in their Gluon code; both drop after the block's first and last norms too. `mask`
    is one for each "sample" or one for the whole "batch". `ramp` leads to `prob`: by "epoch" (that of
    epoch e is (e + 1) / epochs of it), by "step" (in a hundred stairs), or "none" (`prob` from the first step on).
    """

    prob: float = 0.0
    place: str = "inside"
    mask: str = "sample"
    ramp: str = "epoch"

    def __post_init__(self) -> None:
        check_probability(self.prob)
        one_of(self, "place", ("inside", "after"))
        one_of(self, "mask", ("sample", "batch"))
        one_of(self, "ramp", ("epoch", "step", "none"))


@dataclass(frozen=True)
class Recipe(Steps):
    """A training recipe of a classifier.

    `size` is the side of training images in pixels and `eval_size` that of the evaluation's. The learning rate rises
    over `warmup_epochs` and falls along a cosine to 0. What a step does with it says `rule`.
    `mixup` is the alpha of its Beta distribution, 0 for none, none either in the last `mixup_off_epochs`;
    `label_smoothing` is spread over all classes; `final_drop` is the dropout before the classifier;
    `last_gamma` starts each block's last norm at 0; `ema_decay` 0 keeps no moving average of the weights.
    Raises ValueError that names field and value.
    """

    epochs: int
    batch: int
    size: int
    eval_size: int
    drop_last: bool = True
    lr: float = 0.1
    lr_batch: int | None = 256
    warmup_epochs: float = 0.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_norms_and_biases: bool = False
    mixup: float = 0.0
    mixup_off_epochs: int = 0
    label_smoothing: float = 0.0
    final_drop: float = 0.0
    last_gamma: bool = False
    ema_decay: float = 0.0
    dropblock: DropBlockRecipe = field(default_factory=DropBlockRecipe)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        at_least(self, 1, "epochs", "batch", "size", "eval_size", whole=True)
        for name in ("size", "eval_size"):
            if getattr(self, name) > LONGEST_SIDE:
                raise ValueError(f"{name}={getattr(self, name)!r} must be at most {LONGEST_SIDE}")
        at_least(self, 0, "mixup_off_epochs", whole=True)
        at_least(self, 0, "lr", "warmup_epochs", "weight_decay", "mixup")
        if self.lr_batch is not None:
            at_least(self, 1, "lr_batch", whole=True)
        true_or_false(self, "drop_last", "nesterov", "decay_norms_and_biases", "last_gamma")
        at_least(self, 0, "momentum", "label_smoothing", "final_drop", "ema_decay")
        for name in ("label_smoothing", "final_drop", "ema_decay"):
            if getattr(self, name) >= 1:
                raise ValueError(f"{name}={getattr(self, name)!r} must be below 1")
        UpdateRule(self.momentum, self.nesterov, self.weight_decay)
        if self.warmup_epochs > self.epochs:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs!r} are more than epochs={self.epochs}: give fewer, or 0"
            )

    def learning_rate(self, step: int, steps_per_epoch: int) -> float:
        """The learning rate of update `step`, counted from 0 and over all epochs.

        The warm-up is MXNet's, which counts updates from 1: of 10 steps the first has a tenth of the peak.
        (The authors' PyTorch script starts at 0 and wastes the first.) The cosine is theirs in
        PyTorch-Encoding, which gives the last step a little. (MXNet's gives it 0, and wastes it.)
        """
        warmup = round(self.warmup_epochs * steps_per_epoch)
        if step < warmup:
            return self.peak_lr * (step + 1) / warmup
        left = self.epochs * steps_per_epoch - warmup
        if step - warmup >= left:
            return 0.0
        return self.peak_lr * (1 + cos(pi * (step - warmup) / left)) / 2

    def dropblock_prob(self, step: int, steps_per_epoch: int) -> float:
        """The probability that a pixel is dropped in update `step`, counted from 0 and over all epochs."""
        total, gone = self.epochs * steps_per_epoch, step + 1
        if self.dropblock.ramp == "epoch":
            total, gone = self.epochs, step // steps_per_epoch + 1
        if self.dropblock.ramp == "none":
            total = gone
        if self.dropblock.ramp == "step" and total > STAIRS:
            total, gone = STAIRS, ceil(gone * STAIRS / total)
        return self.dropblock.prob * min(gone / total, 1.0)

    def mixup_alpha(self, epoch: int) -> float:
        """The alpha of mixup in `epoch`, counted from 0; 0 for none."""
        return self.mixup if epoch < self.epochs - self.mixup_off_epochs else 0.0


def gluon(name: str) -> Recipe:
    """What made the published weights of the network `name`: the authors' Gluon script and their commands.

    - "SGD" in the paper and in model cards is Nesterov's here (`nag`, scripts/gluon/train.py).
    - Batches and sizes are those of the commands; a model card that says 8192 for resnest14 and
      resnest26 contradicts them and the logged learning rates. For the seven fast variants, whose
      command was not published, those of resnest50.
    - Crops of 320 pixels and more are "efficientnet" and bicubic, smaller ones "inception" and bilinear
      without antialiasing (OpenCV's); AutoAugment comes first, on the whole photo.
    - DropBlock is 0.1 but for resnest14, which has none (gluoncv's model zoo), on the split attention's
      output, one mask a batch, ramped by epoch. The pixels that the mask takes are chosen as in
      `DropBlock`, evenly up to the border, not as there. The dropout of resnest200 and resnest269 is 0.2.
    """
    spec = get_spec(name)
    batch, size = _GLUON_BATCH_AND_SIZE.get(spec.name, (8192, 224))
    large = size >= BICUBIC_FROM
    return Recipe(
        epochs=270,
        batch=batch,
        size=size,
        eval_size=spec.image_size,
        warmup_epochs=5,
        nesterov=True,
        mixup=0.2,
        label_smoothing=0.1,
        final_drop=0.2 if spec.name in ("resnest200", "resnest269") else 0.0,
        last_gamma=True,
        dropblock=DropBlockRecipe(0.0 if spec.name == "resnest14" else 0.1, place="after", mask="batch"),
        augmentation=Augmentation(
            auto="autoaugment",
            crop="efficientnet" if large else "inception",
            area=(0.1, 1.0) if large else (0.08, 1.0),
            interpolation="bicubic" if large else "bilinear",
            antialias=large,
            jitter=0.4,
            lighting=0.1,
        ),
    )


_GLUON_BATCH_AND_SIZE = {
    "resnest14": (1024, 224),
    "resnest26": (1024, 224),
    "resnest101": (4096, 224),
    "resnest200": (2048, 256),
    "resnest269": (2048, 320),
}


def encoding(name: str) -> Recipe:
    """The authors' PyTorch recipe: PyTorch-Encoding's published commands, some 0.4 points below `gluon`.

    - Commands were published for resnest50, 101, 200 and 269; other networks have those of resnest50.
    - The crop is PyTorch-Encoding's, bicubic at every size; the copy in the authors' repository is
      bilinear, and has no published command.
    - The command says --last-gamma, and so does this; the code fills those norms with 1 again
      (encoding/models/backbone/resnet.py), so the published numbers were got without it.
    - Its norms have no decay; the authors' script meant that too (see `Recipe.rule`).
    - Its mixup pairs images by a random permutation, here as everywhere with the reversed batch: the
      batch is shuffled already.
    - DropBlock has no flag there and no working class: none.
    """
    spec = get_spec(name)
    return Recipe(
        epochs=270,
        batch=2048,
        size={"resnest200": 256, "resnest269": 320}.get(spec.name, 224),
        eval_size=spec.image_size,
        warmup_epochs=5,
        mixup=0.2,
        label_smoothing=0.1,
        last_gamma=True,
        augmentation=Augmentation(
            auto="randaugment",
            crop="efficientnet",
            area=(0.1, 1.0),
            interpolation="bicubic",
            jitter=0.4,
            lighting=0.1,
        ),
    )


def finetune(name: str) -> Recipe:
    """From trained weights to a folder of one's own, on one device; the numbers are this library's choice.

    The size is the one that `gluon` trains at, and everything that only a long run has use for is off.
    """
    published = gluon(name)
    return Recipe(
        epochs=20,
        batch=64,
        size=published.size,
        eval_size=published.eval_size,
        lr=0.04,
        warmup_epochs=1,
        nesterov=True,
        label_smoothing=0.1,
        augmentation=Augmentation(area=(0.25, 1.0), interpolation="bicubic"),
    )


PRESETS: dict[str, Callable[[str], Recipe]] = {"gluon": gluon, "encoding": encoding, "finetune": finetune}
"""The recipes by name; each is a function of a published network's name."""


def get_recipe(name: str, preset: str = "gluon", **changes: Any) -> Recipe:
    """The preset's recipe for the published network `name`, with fields replaced as by `Recipe.with_changes`.

    Raises ValueError for a name or a preset that there is not.
    """
    if preset not in PRESETS:
        raise ValueError(f"there is no recipe {preset!r}; {closest(preset, PRESETS)}")
    return PRESETS[preset](name).with_changes(**changes)
