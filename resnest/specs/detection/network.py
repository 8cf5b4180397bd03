"""What every ResNeSt detector is, in plain Python: a backbone, a feature pyramid, an RPN, box heads, mask heads.

Source: the networks that mmdetection (https://github.com/open-mmlab/mmdetection, version 3.3.0)
published checkpoints of, their configs and the code that reads them. Canonical tensor names are mmdetection's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from resnest.specs.arguments import closest
from resnest.specs.blocks import Layer, check_positive
from resnest.specs.cost import Cost, LayerCost, Size, convolution_costs, trained_parameters
from resnest.specs.detection.anchors import (
    BOX_SAMPLER,
    RPN_ASSIGNER,
    RPN_SAMPLER,
    AnchorSpec,
    Assigner,
    Box,
    Proposals,
    Sampler,
    Stage,
)
from resnest.specs.detection.heads import (
    BOX_SIZE,
    MASK_SIZE,
    BoxHeadSpec,
    HeadLayer,
    Linear,
    MaskHeadSpec,
    NeckSpec,
    RPNSpec,
    shapes_of,
)
from resnest.specs.published import get_spec
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.with_backbone import WithBackbone

FAMILIES = ("faster_rcnn", "mask_rcnn", "cascade_rcnn", "cascade_mask_rcnn")

FOUND = ("boxes", "scores", "labels", "masks")
"""What a detector finds in an image, in this order; some families find no masks."""

MEAN = (123.68, 116.779, 103.939)
STD = (58.393, 57.12, 57.375)
"""Mean and standard deviation of RGB in 0 to 255, as these detectors were trained: not quite the classifiers'."""

BACKBONE = get_spec("resnest50", num_classes=0)
ANCHORS = AnchorSpec()
PROPOSALS = Proposals()
"""What published detectors have; of four the backbone is ResNeSt-101."""

PAD = 32
"""Images are padded at the bottom and right, with zeros after they were normalised, to a multiple of this."""

STAGE_STDS: tuple[Box, ...] = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))
STAGE_IOUS = (0.5, 0.6, 0.7)
STAGE_WEIGHTS = (1.0, 0.5, 0.25)
"""Of the three stages of a cascade (arXiv 1712.00726); other detectors have the first."""

CASCADE_RPN_BETA = 1 / 9
CASCADE_BOX_BETA = 1.0
"""Below this a cascade's box losses are squares (smooth L1, arXiv 1504.08083); other detectors' are L1 everywhere."""


@dataclass(frozen=True)
class DetectionSpec(WithBackbone):
    """The numbers that tell one detector from another.

    `family` is faster_rcnn, mask_rcnn, cascade_rcnn or cascade_mask_rcnn; `channels` are the pyramid's, `hidden` the
    units of a box head's fully connected layer, `box_convs` and `mask_convs` the convolutions of a head.
    `scale` is the long and the short side, in pixels, that a photo is enlarged or shrunk to fit into. Of what
    scores above `score_threshold`, class by class after NMS at `nms_iou`, the best `max_detections` are
    kept; a mask is where its probability is at least `mask_threshold`. In training the stem and `frozen_stages`
    stages do not learn (0 freezes nothing). `deploy` says that every batch norm is folded into the convolution
    before it. `dataset` tells the classes' names. Raises ValueError, naming field and value, where the
    numbers make no network.
    """

    name: str
    family: str
    num_classes: int = 80
    channels: int = 256
    hidden: int = 1024
    box_convs: int = 4
    mask_convs: int = 4
    anchors: AnchorSpec = ANCHORS
    proposals: Proposals = PROPOSALS
    score_threshold: float = 0.05
    nms_iou: float = 0.5
    max_detections: int = 100
    mask_threshold: float = 0.5
    scale: tuple[int, int] = (1333, 800)
    frozen_stages: int = 1
    deploy: bool = False
    dataset: str = ""
    backbone: ResNeStSpec = BACKBONE

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(
                f"family={self.family!r} must be one of {', '.join(FAMILIES)}; {closest(self.family, FAMILIES)}"
            )
        for field in ("num_classes", "channels", "hidden", "box_convs", "mask_convs", "max_detections"):
            check_positive(field, getattr(self, field))
        for field in ("score_threshold", "nms_iou", "mask_threshold"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"{field}={getattr(self, field)!r} must be between 0 and 1")
        if len(self.scale) != 2 or not 0 < self.scale[1] <= self.scale[0]:
            raise ValueError(f"scale={self.scale!r} must be a long side and a short side, in pixels")
        self.adopt_backbone("detector")
        if not 0 <= self.frozen_stages <= len(self.backbone.stage_depths):
            raise ValueError(
                f"frozen_stages={self.frozen_stages!r} must be 0 (none) to {len(self.backbone.stage_depths)}"
            )
        if self.backbone.output_stride != 32:
            raise ValueError(
                f"output_stride={self.backbone.output_stride!r} leaves a detector no pyramid: its maps have strides"
                " 4, 8, 16 and 32"
            )
        # From a checkpoint's config.json or a command line a tuple may come as a list.
        object.__setattr__(self, "scale", tuple(self.scale))
        strides, ratios, anchor_scale = self.anchors
        object.__setattr__(self, "anchors", AnchorSpec(tuple(strides), tuple(ratios), anchor_scale))
        object.__setattr__(self, "proposals", Proposals(*self.proposals))

    @property
    def image_size(self) -> int:
        """The short side in pixels that photos have."""
        return self.scale[1]

    @property
    def is_cascade(self) -> bool:
        return self.family.startswith("cascade")

    @property
    def has_masks(self) -> bool:
        return "mask" in self.family

    @property
    def neck(self) -> NeckSpec:
        return NeckSpec(self.backbone.feature_channels[1:], self.channels)

    @property
    def rpn_head(self) -> RPNSpec:
        return RPNSpec(self.channels, len(self.anchors.ratios))

    @property
    def box_head(self) -> BoxHeadSpec:
        return BoxHeadSpec(
            self.channels, self.box_convs, self.hidden, self.num_classes, agnostic=self.is_cascade, deploy=self.deploy
        )

    @property
    def mask_head(self) -> MaskHeadSpec | None:
        if not self.has_masks:
            return None
        return MaskHeadSpec(self.channels, self.mask_convs, self.num_classes, deploy=self.deploy)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """One row for each box head, in the order in which they refine boxes."""
        number = len(STAGE_IOUS) if self.is_cascade else 1
        # Of the eight configs only Mask R-CNN's take low matches for objects in the box head.
        low_quality = self.family == "mask_rcnn"
        return tuple(
            Stage(Assigner(iou, iou, iou, low_quality), stds, weight)
            for iou, stds, weight in zip(STAGE_IOUS[:number], STAGE_STDS, STAGE_WEIGHTS)
        )

    @property
    def rpn_assigner(self) -> Assigner:
        return RPN_ASSIGNER

    @property
    def rpn_sampler(self) -> Sampler:
        return RPN_SAMPLER

    @property
    def box_sampler(self) -> Sampler:
        return BOX_SAMPLER

    @property
    def train_proposals(self) -> Proposals:
        """What the RPN hands on in training."""
        return Proposals(2000, 2000 if self.is_cascade else 1000, self.proposals.iou)

    @property
    def allowed_border(self) -> int:
        """Anchors further outside an image than so many pixels are not learnt from; -1 learns from all of them."""
        return 0 if self.is_cascade else -1

    @property
    def rpn_beta(self) -> float:
        """Below this error the RPN's box loss is a square; 0 is L1."""
        return CASCADE_RPN_BETA if self.is_cascade else 0.0

    @property
    def box_beta(self) -> float:
        """The same of a box head's."""
        return CASCADE_BOX_BETA if self.is_cascade else 0.0

    def head_prefixes(self, kind: str) -> list[str]:
        """What the tensors of the box heads (`kind` "bbox_head") or mask heads ("mask_head") are called in front."""
        name = f"roi_head.{kind}"
        return [f"{name}.{stage}" for stage in range(len(self.stages))] if self.is_cascade else [name]

    def all_layers(self) -> Iterator[HeadLayer]:
        """Every convolution, with the batch norm that follows it, and fully connected layer, in checkpoint order."""
        yield from self.backbone_layers()
        yield from self.neck.layers("neck")
        yield from self.rpn_head.layers("rpn_head")
        for prefix in self.head_prefixes("bbox_head"):
            yield from self.box_head.layers(prefix)
        if self.mask_head is not None:
            for prefix in self.head_prefixes("mask_head"):
                yield from self.mask_head.layers(prefix)

    def layers(self) -> Iterator[Layer]:
        """Every convolution, with the batch norm that follows it if one does, in checkpoint order."""
        return (layer for layer in self.all_layers() if isinstance(layer, Layer))

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Canonical name -> shape of every tensor, in checkpoint order."""
        return shapes_of(self.all_layers())

    def cost(self, height: int, width: int | None = None) -> Cost:
        """Parameters, multiply-accumulates, activations and map shapes for one image, as prediction runs it at most.

        That is with as many proposals and detections as are kept. Of the pyramid's maps p2 is the finest. Regions
        stand below each other: 1000 of 7x7 pixels are 7000x7. Raises ValueError where the image is too small.
        """
        cost = self.backbone.cost(height, width)
        layers = [replace(row, name=self.backbone_name(row.name)) for row in cost.layers if row.name != "avgpool"]
        sizes = [shape[1:] for shape in cost.stages.values()][1:]
        for layer, size in zip(self.neck.layers("neck"), [*sizes, *sizes]):
            layers += convolution_costs(layer, size)
        sizes.append(_halved(sizes[-1]))
        for size in sizes:
            for layer in self.rpn_head.layers("rpn_head"):
                layers += convolution_costs(layer, size)
        for prefix in self.head_prefixes("bbox_head"):
            layers += self._box_costs(prefix, self.proposals.after)
        for prefix in self.head_prefixes("mask_head") if self.has_masks else ():
            layers += self._mask_costs(prefix, self.max_detections)
        maps = {f"p{level}": (self.channels, *size) for level, size in enumerate(sizes, start=2)}
        parameters = trained_parameters(self.tensors())
        return Cost(cost.height, cost.width, parameters, cost.stages | maps, tuple(layers))

    def _box_costs(self, prefix: str, regions: int) -> Iterator[LayerCost]:
        for layer in self.box_head.layers(prefix):
            if isinstance(layer, Linear):
                inputs = regions * layer.in_features
                shape = (regions, layer.out_features)
                yield LayerCost(layer.name, "linear", shape, inputs, macs=inputs * layer.out_features)
            else:
                yield from convolution_costs(layer, (regions * BOX_SIZE, BOX_SIZE))

    def _mask_costs(self, prefix: str, regions: int) -> Iterator[LayerCost]:
        assert self.mask_head is not None
        size = regions * MASK_SIZE, MASK_SIZE
        for layer in self.mask_head.layers(prefix):
            if not layer.name.endswith(".upsample"):
                yield from convolution_costs(layer, size)
                continue
            channels = layer.conv.out_channels
            inputs, size = layer.conv.in_channels * prod(size), (2 * size[0], 2 * size[1])
            # Each pixel that comes out is made of one that goes in.
            outputs = channels * prod(size)
            macs = outputs * layer.conv.in_channels
            yield LayerCost(layer.name, "conv", (channels, *size), inputs, macs, outputs)

    def norm_pixels(self, height: int, width: int) -> dict[str, int]:
        """Name of each batch norm -> the pixels of one image that it sees in training, a mask head's at most."""
        sampler = self.box_sampler
        rows = [*self.backbone.cost(height, width).layers]
        pixels = {self.backbone_name(row.name): prod(row.size) for row in rows if row.kind == "norm"}
        for prefix in self.head_prefixes("bbox_head"):
            heads = self._box_costs(prefix, sampler.number)
            pixels |= {row.name: prod(row.size) for row in heads if row.kind == "norm"}
        for prefix in self.head_prefixes("mask_head") if self.has_masks else ():
            masks = self._mask_costs(prefix, int(sampler.number * sampler.positives))
            pixels |= {row.name: prod(row.size) for row in masks if row.kind == "norm"}
        return pixels

    def without_dropout(self) -> DetectionSpec:
        """The same network, dropping nothing in training: it never does."""
        return self


def _halved(size: Size) -> Size:
    """What is left of a map of `size` of which every second pixel is taken."""
    return (size[0] + 1) // 2, (size[1] + 1) // 2
