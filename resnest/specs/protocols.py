"""How a photo becomes the square that a network is evaluated on: the three protocols behind the published figures.

They disagree, and by more than the figures' last digit: a checkpoint's accuracy is that of its own protocol.
None of them turns a photo by its EXIF orientation: all read the pixels as they are stored (Pillow's loaders of
torchvision and timm, and the OpenCV in MXNet's wheels). In all of them RGB in [0, 1] is normalised by
`resnest.specs.resnest.MEAN` and `STD`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, floor

from resnest.specs.arguments import closest
from resnest.specs.resnest import BICUBIC_FROM

MARGIN = 32
"""Pixels that the authors crop away, of a photo whose short side is `size + MARGIN`."""

RESAMPLING = ("bilinear", "bicubic", "opencv-bilinear")
"""Pillow's two, which average where a photo shrinks, and OpenCV's, which takes two pixels in each direction."""


@dataclass(frozen=True)
class Preparation:
    """How a photo becomes `size` x `size` pixels.

    With `short_side` None the centred square of `share` of the photo's short side is cut out, at whole pixels,
    and resized. Otherwise the whole photo is resized to that short side, and the centred square is cut out.
    Raises ValueError, naming field and value, for values that make no square.
    """

    size: int
    resampling: str
    short_side: int | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size={self.size!r} must be at least one pixel")
        if self.resampling not in RESAMPLING:
            raise ValueError(f"resampling={self.resampling!r} must be one of {', '.join(RESAMPLING)}")
        if self.short_side is not None and self.short_side < self.size:
            raise ValueError(f"short_side={self.short_side!r} must be at least the size, {self.size}")

    @property
    def share(self) -> float:
        """The side of the square that is seen, over the short side of the photo."""
        return self.size / (self.size + MARGIN if self.short_side is None else self.short_side)

    def box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the square that is seen, in the pixels of a photo or of the resized one."""
        if self.short_side is not None:
            side: float = self.size
        else:
            side = self.share * min(width, height)
        left, top = (_half(length - side, self.resampling) for length in (width, height))
        return left, top, round(left + side), round(top + side)

    def resized(self, width: int, height: int) -> tuple[int, int]:
        """The width and height of a whole photo whose short side has become `short_side`; ValueError without one."""
        if self.short_side is None:
            raise ValueError(f"{self} cuts out its square before it resizes")
        short, long = min(width, height), max(width, height)
        other = self.short_side * long // short
        return (self.short_side, other) if width <= height else (other, self.short_side)

    def __str__(self) -> str:
        if self.short_side is None:
            how = f"the centred square of {self.size} / {self.size + MARGIN} of its short side, resized"
        else:
            how = f"resized to a short side of {self.short_side} pixels, of which the centred square is cut out"
        return f"{how} ({self.resampling})"


def _half(margin: float, resampling: str) -> int:
    """The pixels on one side of the square; MXNet drops the half one that the others round, to the even one."""
    return int(margin / 2) if resampling == "opencv-bilinear" else round(margin / 2)


def _authors_torch(size: int, variant: str) -> Preparation:
    # verify.py chooses bilinear below 320 pixels, and never uses what it chose.
    return Preparation(size, "bicubic")


def _authors_gluon(size: int, variant: str) -> Preparation:
    if size >= BICUBIC_FROM:
        return Preparation(size, "bicubic")
    return Preparation(size, "opencv-bilinear", ceil(size / 0.875))


_TIMM: Mapping[str, tuple[str, float]] = {
    "resnest14": ("bilinear", 0.875),
    "resnest26": ("bilinear", 0.875),
    "resnest50": ("bilinear", 0.875),
    "resnest101": ("bilinear", 0.875),
    "resnest200": ("bicubic", 0.909),
    "resnest269": ("bicubic", 0.928),
    "resnest50_fast_4s2x40d": ("bicubic", 0.875),
    "resnest50_fast_1s4x24d": ("bicubic", 0.875),
}
"""Resampling and share of the short side, by variant: `default_cfgs` in timm/models/resnest.py."""


def _timm(size: int, variant: str) -> Preparation:
    if variant not in _TIMM:
        raise ValueError(f"timm has no {variant}, and so no protocol for it; {closest(variant, _TIMM)}")
    resampling, share = _TIMM[variant]
    return Preparation(size, resampling, floor(size / share))


PROTOCOLS: Mapping[str, Callable[[int, str], Preparation]] = {
    "authors-torch": _authors_torch,
    "authors-gluon": _authors_gluon,
    "timm": _timm,
}
"""The protocols, each called like those who published weights with its figures, the usual one first.

`authors-torch`: scripts/torch/verify.py of the authors, `authors-gluon`: their scripts/gluon/verify.py,
`timm`: timm's validate.py.
"""

DEFAULT = next(iter(PROTOCOLS))


def preparation(protocol: str, size: int, variant: str) -> Preparation:
    """How `protocol` prepares photos for the network `variant` at `size` pixels.

    Raises ValueError for a protocol nobody published, and for a variant that timm does not have.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"there is no protocol called {protocol!r}; {closest(protocol, PROTOCOLS)}")
    return PROTOCOLS[protocol](size, variant)
