"""What every ResNeSt segmentation network is, in plain Python: a dilated backbone, a head, an auxiliary head.

Sources: the networks that mmsegmentation (https://github.com/open-mmlab/mmsegmentation, version
1.2.2) and sssegmentation (https://github.com/SegmentationBLWX/sssegmentation) published
checkpoints of. Canonical tensor names are mmsegmentation's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from resnest.specs.blocks import Layer, check_positive, tensor_shapes
from resnest.specs.cost import Cost, adaptive_pool_cost, convolution_costs, trained_parameters
from resnest.specs.published import get_spec
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.heads import FINE, ASPPSpec, FCNSpec, HeadSpec, PSPSpec, SeparableASPPSpec
from resnest.specs.with_backbone import WithBackbone

HEADS = ("fcn", "psp", "aspp", "aspp_sep")

AUXILIARY_WEIGHT = 0.4
"""How much the auxiliary head's loss counts in training, in both toolboxes."""

BACKBONE = get_spec("resnest101", output_stride=8, dilated_pooling="openmmlab", num_classes=0)
"""The backbone of all published networks."""


@dataclass(frozen=True)
class SegmentationSpec(WithBackbone):
    """The numbers that tell one segmentation network from another.

    `head` is fcn, psp (PSPNet), aspp (DeepLabV3) or aspp_sep (DeepLabV3+); `auxiliary_channels`
    0 means a network without an auxiliary head; `dropout` is the heads'. `joins_input` (of an FCN) and
    `pooled_first` (of an ASPP) are True in mmsegmentation's networks and False in
    sssegmentation's. `deploy` says that every batch norm is folded into the convolution before it. `dataset`
    tells the classes' names and colours. Raises ValueError, naming field and value, where the numbers make no network.
    """

    name: str
    head: str
    num_classes: int
    channels: int = 512
    auxiliary_channels: int = 256
    dropout: float = 0.1
    joins_input: bool = True
    pooled_first: bool = True
    deploy: bool = False
    dataset: str = ""
    backbone: ResNeStSpec = BACKBONE

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ValueError(f"head={self.head!r} must be one of {', '.join(HEADS)}")
        for field in ("num_classes", "channels"):
            check_positive(field, getattr(self, field))
        if self.auxiliary_channels != 0:
            check_positive("auxiliary_channels", self.auxiliary_channels)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout!r} must be at least 0 and below 1")
        self.adopt_backbone("segmentation network")

    @property
    def decode_head(self) -> HeadSpec:
        """The head on stage 4 (and, of DeepLabV3+, stage 1)."""
        _, fine, _, _, deep = self.backbone.feature_channels
        common = deep, self.channels, self.num_classes, self.dropout, self.deploy
        if self.head == "fcn":
            return FCNSpec(*common, joins_input=self.joins_input)
        if self.head == "psp":
            return PSPSpec(*common)
        if self.head == "aspp":
            return ASPPSpec(*common, pooled_first=self.pooled_first)
        return SeparableASPPSpec(*common, pooled_first=self.pooled_first, fine_in_channels=fine)

    @property
    def auxiliary_head(self) -> HeadSpec | None:
        """The head on stage 3 that helps in training."""
        if not self.auxiliary_channels:
            return None
        channels = self.backbone.feature_channels[3]
        common = channels, self.auxiliary_channels, self.num_classes, self.dropout, self.deploy
        return FCNSpec(*common, num_convs=1, joins_input=False)

    def layers(self) -> Iterator[Layer]:
        """Every convolution, with the batch norm that follows it, in checkpoint order."""
        yield from self.backbone_layers()
        yield from self.decode_head.layers("decode_head")
        if self.auxiliary_head is not None:
            yield from self.auxiliary_head.layers("auxiliary_head")

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Canonical name -> shape of every tensor, in checkpoint order."""
        return tensor_shapes(self.layers())

    def cost(self, height: int, width: int | None = None) -> Cost:
        """Parameters, multiply-accumulates, activations and stage shapes for one image, as `predict` runs it.

        The auxiliary head counts among the parameters only. Raises ValueError where the image is too
        small for the network.
        """
        cost = self.backbone.cost(height, width)
        layers = [replace(row, name=self.backbone_name(row.name)) for row in cost.layers if row.name != "avgpool"]
        sizes = {0: cost.stages["layer4"][1:], FINE: cost.stages["layer1"][1:]}
        head = self.decode_head
        for unit in head.units():
            size = sizes.get(unit.scale, (unit.scale, unit.scale))
            if unit.scale > 0:
                layers.append(adaptive_pool_cost(f"decode_head.{unit.name}", head.in_channels, sizes[0], size))
            for layer in unit.layers("decode_head"):
                layers += convolution_costs(layer, size)
        layers += convolution_costs(next(head.layers("decode_head")), sizes[head.classifier_scale])
        logits = (self.num_classes, *sizes[head.classifier_scale])
        return Cost(
            cost.height, cost.width, trained_parameters(self.tensors()), cost.stages | {"logits": logits}, tuple(layers)
        )

    def norm_pixels(self, height: int, width: int) -> dict[str, int]:
        """Name of each batch norm -> the pixels of one image that it sees in training."""
        cost = self.cost(height, width)
        auxiliary = self.auxiliary_head.layers("auxiliary_head") if self.auxiliary_head else ()
        _, *stage3 = cost.stages["layer3"]
        return cost.norm_pixels | {layer.norm: prod(stage3) for layer in auxiliary if layer.norm}

    def without_dropout(self) -> SegmentationSpec:
        """The same network, dropping nothing in training."""
        return replace(self, dropout=0.0)
