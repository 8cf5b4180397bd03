"""What the specs of all tasks have in common, and every published network by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from resnest.specs.blocks import Layer
from resnest.specs.cost import Cost
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.detection.published import DETECTION_VARIANTS, get_detection_spec
from resnest.specs.published import VARIANTS, get_spec
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import SegmentationSpec
from resnest.specs.segmentation.published import SEGMENTATION_VARIANTS, get_segmentation_spec


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
    def minimum_size(self) -> int: ...
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

    def renormed(self: Self, **numbers: Any) -> Self:
        """The same network with other `norm_eps` or `norm_momentum`; None leaves one as it is."""

    def without_dropout(self: Self) -> Self:
        """The same network, dropping nothing in training."""


Self = TypeVar("Self", bound=Network)


class Task(NamedTuple):
    """What networks of one kind are for, and the published ones.

    `name` is the task's and `title` what one of its networks is called; `variants` are the published ones by name,
    and `get` gives the spec of one, with fields of it replaced. `finds` says that they tell boxes, as many as they
    find in an image, where others give logits.
    """

    name: str
    title: str
    variants: Mapping[str, Any]
    get: Callable[..., Network]
    finds: bool = False


TASKS: dict[type, Task] = {
    ResNeStSpec: Task("classification", "classifier", VARIANTS, get_spec),
    DetectionSpec: Task("detection", "detector", DETECTION_VARIANTS, get_detection_spec, finds=True),
    SegmentationSpec: Task("segmentation", "segmenter", SEGMENTATION_VARIANTS, get_segmentation_spec),
}
"""Kind of spec -> the task that such networks are for. What else depends on it is in a table by kind on each floor."""


def find(name: str) -> Network:
    """The spec of the published network called `name`, of whatever task; ValueError where there is none."""
    task = next((task for task in TASKS.values() if name in task.variants), TASKS[ResNeStSpec])
    return task.get(name)  # classifiers are known by timm's names too
