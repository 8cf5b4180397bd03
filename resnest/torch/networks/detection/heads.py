"""What a detector has on top of its backbone, in PyTorch: pyramid, proposals, box head, mask head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnest.specs.blocks import ConvSpec
from resnest.specs.detection.anchors import UNIT_STDS, Proposals
from resnest.specs.detection.heads import (
    CLASSIFIER_STD,
    REGRESSION_STD,
    RPN_STD,
    BoxHeadSpec,
    Linear,
    MaskHeadSpec,
    NeckSpec,
)
from resnest.specs.detection.network import DetectionSpec
from resnest.torch.layers.basic import BatchNorm, NormLayer, conv2d, every
from resnest.torch.layers.regions import being_exported, best_first, decode, first, grid, suppress
from resnest.torch.layers.units import ConvUnit


class PlainConv(nn.Module):
    """A convolution without norm or ReLU, called `conv` as in a unit."""

    def __init__(self, conv: ConvSpec):
        super().__init__()
        self.conv = conv2d(conv)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Neck(nn.Module):
    """A feature pyramid: four maps of the backbone -> five of `channels`, fine to coarse."""

    def __init__(self, neck: NeckSpec):
        super().__init__()
        self.lateral_convs = nn.ModuleList(PlainConv(conv) for conv in neck.laterals)
        self.fpn_convs = nn.ModuleList(PlainConv(conv) for conv in neck.outputs)

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        laterals = [conv(stage) for conv, stage in zip(self.lateral_convs, stages)]
        for finer, coarser in zip(range(len(laterals) - 2, -1, -1), range(len(laterals) - 1, 0, -1)):
            size = laterals[finer].shape[2:]
            laterals[finer] = laterals[finer] + F.interpolate(laterals[coarser], size=size, mode="nearest")
        maps = [conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals)]
        return [*maps, every(maps[-1], 2)]


class RPNHead(nn.Module):
    """Of each anchor whether it is an object, and its deltas."""

    def __init__(self, spec: DetectionSpec):
        super().__init__()
        self.spec = spec
        self.rpn_conv = conv2d(spec.rpn_head.conv)
        self.rpn_cls = conv2d(spec.rpn_head.classifier)
        self.rpn_reg = conv2d(spec.rpn_head.regression)

    def draw_classifier(self) -> None:
        for layer in (self.rpn_conv, self.rpn_cls, self.rpn_reg):
            draw_normal(layer, RPN_STD)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Of each map the logits (N, anchors, H, W) and the deltas (N, 4 * anchors, H, W)."""
        hidden = [F.relu(self.rpn_conv(x)) for x in maps]
        return [whole(self.rpn_cls, x) for x in hidden], [whole(self.rpn_reg, x) for x in hidden]

    def anchors(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Of each map its anchors (H * W * ratios, 4)."""
        return [grid(self.spec.anchors, level, x) for level, x in enumerate(maps)]

    def propose(
        self, logits: Sequence[Tensor], deltas: Sequence[Tensor], sizes: Tensor, rule: Proposals
    ) -> list[tuple[Tensor, Tensor]]:
        """Of each image the boxes (n, 4) that look most like objects, and their scores, best first."""
        scores, boxes, levels = [], [], []
        for level, (seen, moved, anchors) in enumerate(zip(logits, deltas, self.anchors(logits))):
            score, found = of_anchors(seen, 1).squeeze(-1).sigmoid(), of_anchors(moved, 4)
            anchors = anchors.expand_as(found)
            if being_exported() or score.shape[1] > rule.before:
                score, best = best_first(score)
                most = rule.before
                if torch.compiler.is_exporting():  # a slice alone asks whether there are fewer, for good
                    most = torch.sym_min(score.shape[1], most)
                score, best = score[:, :most], best[:, :most, None].expand(-1, -1, 4)
                found, anchors = found.gather(1, best), anchors.gather(1, best)
            scores.append(score)
            boxes.append(decode(anchors, found, UNIT_STDS, sizes[:, None]))
            levels.append(torch.full_like(score[0], level, dtype=torch.long))
        of_level = torch.cat(levels)
        return [_best(*image, of_level, rule) for image in zip(torch.cat(boxes, dim=1), torch.cat(scores, dim=1))]


def _best(boxes: Tensor, scores: Tensor, levels: Tensor, rule: Proposals) -> tuple[Tensor, Tensor]:
    sides = boxes[:, 2:] - boxes[:, :2]
    whole = (sides > 0).all(dim=1)
    boxes, scores, levels = boxes[whole], scores[whole], levels[whole]
    kept = first(suppress(boxes, scores, levels, rule.iou), rule.after)
    return boxes[kept], scores[kept]


def of_anchors(x: Tensor, numbers: int) -> Tensor:
    """A map (N, anchors * numbers, H, W) as rows (N, H * W * anchors, numbers), in the order of `grid`."""
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, numbers)


class BoxHead(nn.Module):
    """Regions (K, C, 7, 7) -> logits (K, classes + 1), background last, and deltas (K, classes or 1, 4)."""

    def __init__(self, head: BoxHeadSpec, norm_layer: NormLayer = BatchNorm):
        super().__init__()
        self.fc_cls = linear(head.classifier)
        self.fc_reg = linear(head.regression)
        self.shared_convs = nn.Sequential(*(ConvUnit(conv, norm_layer) for conv in head.convs))
        self.shared_fcs = nn.ModuleList([linear(head.fc)])

    def draw_classifier(self) -> None:
        draw_normal(self.fc_cls, CLASSIFIER_STD)
        draw_normal(self.fc_reg, REGRESSION_STD)
        for layer in self.shared_fcs:
            draw_uniform(layer)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.shared_fcs[0](self.shared_convs(x).flatten(1)))
        return whole(self.fc_cls, x), whole(self.fc_reg, x).unflatten(1, (-1, 4))


class MaskHead(nn.Module):
    """Regions (K, C, 14, 14) -> logits of a mask of each class (K, classes, 28, 28)."""

    def __init__(self, head: MaskHeadSpec, norm_layer: NormLayer = BatchNorm):
        super().__init__()
        self.convs = nn.Sequential(*(ConvUnit(conv, norm_layer) for conv in head.convs))
        self.upsample = nn.ConvTranspose2d(*head.upsample.shape[:2], kernel_size=2, stride=2)
        self.conv_logits = conv2d(head.classifier)

    def draw_classifier(self) -> None:
        for layer in (self.upsample, self.conv_logits):
            weight, bias = layer.parameters()
            nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        return whole(self.conv_logits, F.relu(self.upsample(self.convs(x))))


def whole(layer: Any, x: Tensor) -> Tensor:
    """What `layer` makes of x, in its weight's dtype: under autocast it would be half, too little for pixels."""
    return layer(x).to(layer.weight.dtype)


def linear(layer: Linear) -> nn.Linear:
    return nn.Linear(layer.in_features, layer.out_features)


def draw_normal(layer: nn.Module, std: float) -> None:
    """Draw the weight of `layer` from N(0, std squared); its bias is zero."""
    weight, bias = layer.parameters()
    nn.init.normal_(weight, std=std)
    nn.init.zeros_(bias)


def draw_uniform(layer: nn.Module) -> None:
    """Draw the weight of `layer` as Xavier and Bengio do; its bias is zero."""
    weight, bias = layer.parameters()
    nn.init.xavier_uniform_(weight)
    nn.init.zeros_(bias)
