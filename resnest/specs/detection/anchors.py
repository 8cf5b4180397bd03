"""Boxes that a detector starts from, and which of them, and of its proposals, it learns from and keeps.

Sources: the eight ResNeSt configs of mmdetection 3.3.0 and the modules that they name.
"""

from __future__ import annotations

from math import log, sqrt
from struct import pack, unpack
from typing import NamedTuple

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""

MAX_LOG_RATIO = log(1000 / 16)
"""No box becomes more than this, as a logarithm, wider or higher than what it is told apart from."""

UNIT_STDS = (1.0, 1.0, 1.0, 1.0)
"""What deltas (dx, dy, dw, dh) are multiplied by where nothing else is said."""


class AnchorSpec(NamedTuple):
    """At each pixel of each map one anchor of every ratio (height over width), `scale` strides wide at ratio 1."""

    strides: tuple[int, ...] = (4, 8, 16, 32, 64)
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    scale: float = 8.0

    def at_origin(self, level: int) -> list[Box]:
        """The anchors of the first pixel of map `level`, which are centred at 0, 0.

        Another pixel's are as many strides further right and down. Their sides are rounded to float32, in
        which mmdetection keeps them, so that boxes in float64 are its boxes.
        """
        boxes = []
        for ratio in self.ratios:
            root = _single(sqrt(_single(ratio)))
            width = _single(_single(self.strides[level] * _single(1 / root)) * self.scale)
            height = _single(_single(self.strides[level] * root) * self.scale)
            boxes.append((-width / 2, -height / 2, width / 2, height / 2))
        return boxes


class Proposals(NamedTuple):
    """What the RPN hands on: of each map the `before` best, and of those that NMS at `iou` leaves the `after` best."""

    before: int = 1000
    after: int = 1000
    iou: float = 0.7


class Assigner(NamedTuple):
    """Which true box a box belongs to, by intersection over union.

    From `positive` on it belongs to the one that it meets best, below `negative` it is background,
    and between the two it counts nowhere. Where `low_quality`, the boxes that meet a true box best belong to it
    as well, from `minimum` on.
    """

    positive: float
    negative: float
    minimum: float
    low_quality: bool


class Sampler(NamedTuple):
    """`number` boxes of an image to learn from, at most the share `positives` of them objects.

    `adds_truth` puts the true boxes among those to draw from.
    """

    number: int
    positives: float
    adds_truth: bool


RPN_ASSIGNER = Assigner(0.7, 0.3, 0.3, low_quality=True)
RPN_SAMPLER = Sampler(256, 0.5, adds_truth=False)
BOX_SAMPLER = Sampler(512, 0.25, adds_truth=True)


class Stage(NamedTuple):
    """One box head (and mask head) in turn: what it takes for an object, how fine its deltas are, what its loss counts.

    `stds` are what the deltas are divided by in training and multiplied by in prediction.
    """

    assigner: Assigner
    stds: Box
    weight: float = 1.0


def _single(number: float) -> float:
    """The float32 next to `number`."""
    return float(unpack("f", pack("f", number))[0])
