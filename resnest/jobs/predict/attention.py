"""Where each split of a network's split attention looks: what it adds to its block's output, pixel by pixel."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from resnest.backends import registry
from resnest.data.photos import normalise, open_photo, square
from resnest.specs.blocks import SplitAttentionSpec
from resnest.specs.protocols import Preparation, preparation
from resnest.specs.published import get_spec
from resnest.specs.resnest import ResNeStSpec
from resnest.weights import load, recognise
from resnest.weights.published.pretrained import protocol_of


@dataclass(frozen=True)
class Look:
    """Where the splits of the split attention in the block called `block`, of a `stage` from 1, look in an image.

    `maps` (R, H, W) are the means over channels of each split times its attention: added up they are the mean of what
    the split attention gives. `shares` (R,) is how much of that comes from each split.
    """

    block: str
    stage: int
    maps: np.ndarray
    shares: np.ndarray


@dataclass(frozen=True)
class Watcher:
    """A backbone with weights, and how it wants photos prepared."""

    spec: ResNeStSpec
    weights: Mapping[str, np.ndarray]
    preparation: Preparation
    backend: str

    def watch(self, photo: str | os.PathLike) -> tuple[Image.Image, list[Look]]:
        """What the network sees of the photo at that path, and where each block's splits look in it, block by block.

        Raises FileNotFoundError, and ValueError for a file that is no photo.
        """
        try:
            seen = square(open_photo(photo, upright=False), self.preparation)
        except ValueError as error:
            raise ValueError(f"{photo}: {error}") from None
        found = registry.load(self.backend).run_attention(self.spec, self.weights, normalise(seen))
        return seen, [
            look(block.name, block.stage, block.attention, splits[0], scores[0])
            for block, (splits, scores) in zip(self.spec.blocks(), found)
        ]


def look(block: str, stage: int, splat: SplitAttentionSpec, splits: np.ndarray, scores: np.ndarray) -> Look:
    """Of the splits (R * C, H, W) of a split attention and their `scores` (R * C, 1, 1), those before the softmax."""
    splits = splits.reshape(splat.radix, splat.channels, *splits.shape[1:])
    scores = scores.reshape(splat.cardinality, splat.radix, -1).swapaxes(0, 1).reshape(splat.radix, -1)
    powers = np.exp(scores - scores.max(0))
    attention = 1 / (1 + np.exp(-scores)) if splat.radix == 1 else powers / powers.sum(0)
    maps = np.einsum("rchw,rc->rhw", splits, attention) / splat.channels
    total = np.abs(maps).sum()
    return Look(block, stage, maps, np.abs(maps).sum((1, 2)) / (total or 1))


def open_watcher(
    weights: str | os.PathLike,
    *,
    model: str | None = None,
    which: str | None = None,
    backend: str = registry.FIRST,
    protocol: str | None = None,
    size: int | None = None,
) -> Watcher:
    """The backbone in a weight file, a segmenter's or detector's too.

    It is that of the published network called `model`, or without it what the tensors say. Photos are prepared by
    `protocol`, without it by that of published weights, at `size` pixels, without it the published one. `which` chooses
    between the networks in the file, as in `resnest.weights.load`. Raises ValueError for weights that are not the
    model's.
    """
    arrays = load(weights, which=which, backbone=True)
    found = recognise({name: array.shape for name, array in arrays.items()})
    assert isinstance(found, ResNeStSpec)  # a backbone was asked for
    spec = found if model is None else get_spec(model).fitted(found)
    size = spec.image_size if size is None else size
    spec.check_size(size, size)
    return Watcher(spec, arrays, preparation(protocol or protocol_of(weights), size, spec.name), backend)
