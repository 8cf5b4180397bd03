"""What the specs of all tasks have in common, and every published network by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

from resnest.specs.blocks import Layer
from resnest.specs.cost import Cost
from resnest.specs.detection.network import DETECTION_VARIANTS, get_detection_spec
from resnest.specs.resnest import VARIANTS, get_spec
from resnest.specs.segmentation.network import SEGMENTATION_VARIANTS, get_segmentation_spec


class Network(Protocol):
    """A network in numbers, of whatever task."""

    @property
    def name(self) -> str: ...
    @property
    def in_channels(self) -> int: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def image_size(self) -> int: ...
    @property
    def output_stride(self) -> int: ...
    @property
    def deploy(self) -> bool: ...
    @property
    def norm_eps(self) -> float: ...
    @property
    def norm_momentum(self) -> float: ...

    def layers(self) -> Iterator[Layer]:
        """Every convolution, with the batch norm that follows it if one does, in checkpoint order."""

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Canonical name -> shape of every tensor, in checkpoint order."""

    def check_size(self, height: int, width: int) -> None:
        """Raise ValueError where an image of this size is too small for the network."""

    def cost(self, height: int, width: int | None = None) -> Cost:
        """Counts for one image of `height` x `width` pixels."""

    def norm_pixels(self, height: int, width: int) -> dict[str, int]:
        """Name of each batch norm -> the pixels of one image that it sees in training."""

    def at_stride(self: Self, output_stride: int) -> Self:
        """The same network at another output stride."""

    def in_form(self: Self, deploy: bool) -> Self:
        """The same network with its batch norms folded, or not; ValueError where there is no such form of it."""

    def fitted(self: Self, found: Self) -> Self:
        """The same network for as many classes and input channels as `found`, and in its form."""

    def resized(self: Self, shapes: Mapping[str, tuple[int, ...]]) -> Self:
        """The same network for the input channels and classes that canonical tensors of these shapes have."""

    def without_dropout(self: Self) -> Self:
        """The same network, dropping nothing in training."""


Self = TypeVar("Self", bound=Network)

PUBLISHED: tuple[tuple[Mapping[str, Any], Callable[[str], Network]], ...] = (
    (SEGMENTATION_VARIANTS, get_segmentation_spec),
    (DETECTION_VARIANTS, get_detection_spec),
    (VARIANTS, get_spec),  # the last, because it knows timm's names too
)
"""The published networks of each task, and who gives the spec of one."""


def find(name: str) -> Network:
    """The spec of the published network called `name`, of whatever task; ValueError where there is none."""
    for variants, get in PUBLISHED:
        if name in variants:
            return get(name)
    return PUBLISHED[-1][1](name)
