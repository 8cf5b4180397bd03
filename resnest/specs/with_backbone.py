"""What every network that is built on a backbone has of it, whatever its task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from resnest.specs.blocks import Layer
from resnest.specs.resnest import ResNeStSpec

STEM = {
    "conv1.0": "stem.0",
    "conv1.1": "stem.1",
    "conv1.3": "stem.3",
    "conv1.4": "stem.4",
    "conv1.6": "stem.6",
    "bn1": "stem.7",
}
"""The backbone's modules that OpenMMLab's networks call something else."""

Self = TypeVar("Self", bound="WithBackbone")


class WithBackbone:
    """The spec of such a network, which is a frozen dataclass with these fields among its own."""

    backbone: ResNeStSpec
    num_classes: int
    deploy: bool

    def adopt_backbone(self, kind: str) -> None:
        """Take the backbone without a classifier and in the network's own form, or make it of its fields in a dict.

        Raises ValueError for one whose tensors have no names in a network of this `kind`.
        """
        if isinstance(self.backbone, Mapping):  # as a checkpoint's config.json has it
            object.__setattr__(self, "backbone", ResNeStSpec(**self.backbone))
        backbone = self.backbone
        if not (backbone.deep_stem and backbone.avg_down):
            raise ValueError(f"a {kind}'s backbone must have deep_stem and avg_down: no other has names")
        if backbone.num_classes or backbone.deploy != self.deploy:  # replacing checks every block of the network anew
            object.__setattr__(self, "backbone", replace(backbone, num_classes=0, deploy=self.deploy))

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.backbone.in_channels

    @property
    def image_size(self) -> int:
        """The side in pixels of the images that it was published for."""
        return self.backbone.image_size

    @property
    def minimum_size(self) -> int:
        """The smallest height and width of an image that the backbone takes."""
        return self.backbone.minimum_size

    @property
    def output_stride(self) -> int:
        """The image's size over that of the backbone's last feature map."""
        return self.backbone.output_stride

    @property
    def norm_eps(self) -> float:
        """What every batch norm adds to the variance."""
        return self.backbone.norm_eps

    @property
    def norm_momentum(self) -> float:
        """The weight of the newest batch in a batch norm's running statistics."""
        return self.backbone.norm_momentum

    @staticmethod
    def backbone_name(module: str) -> str:
        """What the backbone's own `module` is called in the network."""
        return f"backbone.{STEM.get(module, module)}"

    def backbone_layers(self) -> Iterator[Layer]:
        """The backbone's convolutions, each with the batch norm that follows it, as the network calls them."""
        for name, conv, norm in self.backbone.layers():
            yield Layer(self.backbone_name(name), conv, norm and self.backbone_name(norm))

    def check_size(self, height: int, width: int) -> None:
        """Raise ValueError where an image of this size is too small for the network."""
        self.backbone.check_size(height, width)

    def at_stride(self: Self, output_stride: int) -> Self:
        """The same network at another output stride of its backbone; ValueError where its heads take none such."""
        return self._with(backbone=self.backbone.at_stride(output_stride))

    def in_form(self: Self, deploy: bool) -> Self:
        """The same network with its batch norms folded, or not."""
        return self._with(deploy=deploy)

    def fitted(self: Self, found: Self) -> Self:
        """The same network for as many classes and input channels as `found`, and in its form."""
        backbone = replace(self.backbone, in_channels=found.in_channels)
        return self._with(num_classes=found.num_classes, deploy=found.deploy, backbone=backbone)

    def resized(self: Self, shapes: Mapping[str, tuple[int, ...]]) -> Self:
        """The same network: nothing puts other heads on one that was built."""
        return self

    def renormed(self: Self, **numbers: Any) -> Self:
        """The same network with other `norm_eps` or `norm_momentum`; None leaves one as it is."""
        return self._with(backbone=self.backbone.renormed(**numbers))

    def _with(self: Self, **changes: Any) -> Self:
        return replace(self, **changes)  # type: ignore[type-var]  # its classes are dataclasses, this one is not
