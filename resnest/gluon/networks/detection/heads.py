"""What a detector has on top of its backbone, in MXNet Gluon: pyramid, proposals, box head, mask head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from resnest.gluon._mxnet import mx
from resnest.gluon.layers.basic import BatchNorm, NormLayer, conv2d, nn, sequential
from resnest.gluon.layers.regions import decode, grid, suppress
from resnest.gluon.layers.units import ConvUnit
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


class PlainConv(mx.gluon.HybridBlock):
    """A convolution without norm or ReLU, called `conv` as in a unit."""

    def __init__(self, conv: ConvSpec, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.conv = conv2d(conv)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.conv(x)


class Neck(mx.gluon.HybridBlock):
    """A feature pyramid: four maps of the backbone -> five of `channels`, fine to coarse."""

    def __init__(self, neck: NeckSpec, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.lateral_convs = sequential([PlainConv(conv) for conv in neck.laterals])
            self.fpn_convs = sequential([PlainConv(conv) for conv in neck.outputs])

    def hybrid_forward(self, F: Any, stages: Sequence[Any]) -> list[Any]:
        laterals = [conv(stage) for conv, stage in zip(self.lateral_convs, stages)]
        for finer, coarser in zip(range(len(laterals) - 2, -1, -1), range(len(laterals) - 1, 0, -1)):
            # A map is twice as large as the next, or one pixel less.
            doubled = F.UpSampling(laterals[coarser], scale=2, sample_type="nearest")
            laterals[finer] = laterals[finer] + F.slice_like(doubled, laterals[finer], axes=(2, 3))
        maps = [conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals)]
        return [*maps, F.Pooling(maps[-1], kernel=(1, 1), stride=(2, 2), pool_type="max")]


class RPNHead(mx.gluon.HybridBlock):
    """Of each anchor whether it is an object, and its deltas."""

    def __init__(self, spec: DetectionSpec, **kwargs: Any):
        super().__init__(**kwargs)
        self.spec = spec
        with self.name_scope():
            self.rpn_conv = conv2d(spec.rpn_head.conv, std=RPN_STD)
            self.rpn_cls = conv2d(spec.rpn_head.classifier, std=RPN_STD)
            self.rpn_reg = conv2d(spec.rpn_head.regression, std=RPN_STD)

    def hybrid_forward(self, F: Any, maps: Sequence[Any]) -> Any:
        """Of each map the logits (N, anchors, H, W) and the deltas (N, 4 * anchors, H, W)."""
        hidden = [F.relu(self.rpn_conv(x)) for x in maps]
        return [self.rpn_cls(x) for x in hidden], [self.rpn_reg(x) for x in hidden]

    def anchors(self, maps: Sequence[Any]) -> list[np.ndarray]:
        """Of each map its anchors (H * W * ratios, 4)."""
        return [grid(self.spec.anchors, level, x) for level, x in enumerate(maps)]

    def propose(
        self, logits: Sequence[Any], deltas: Sequence[Any], sizes: np.ndarray, rule: Proposals
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each image the boxes (n, 4) that look most like objects, and their scores, best first."""
        scores, boxes, levels = [], [], []
        for level, (seen, moved, anchors) in enumerate(zip(logits, deltas, self.anchors(logits))):
            score, found = of_anchors(seen.sigmoid(), 1)[..., 0], of_anchors(moved, 4)
            anchors = np.broadcast_to(anchors, found.shape)
            if score.shape[1] > rule.before:
                best = np.argsort(-score, axis=1, kind="stable")[:, : rule.before]
                score = np.take_along_axis(score, best, 1)
                found, anchors = (np.take_along_axis(some, best[..., None], 1) for some in (found, anchors))
            scores.append(score)
            boxes.append(decode(anchors, found, UNIT_STDS, sizes[:, None]))
            levels.append(np.full(score.shape[1], level))
        of_level = np.concatenate(levels)
        return [_best(*image, of_level, rule) for image in zip(np.concatenate(boxes, 1), np.concatenate(scores, 1))]


def _best(boxes: np.ndarray, scores: np.ndarray, levels: np.ndarray, rule: Proposals) -> tuple[np.ndarray, np.ndarray]:
    sides = boxes[:, 2:] - boxes[:, :2]
    whole = (sides > 0).all(axis=1)
    boxes, scores, levels = boxes[whole], scores[whole], levels[whole]
    kept = suppress(boxes, scores, levels, rule.iou)[: rule.after]
    return boxes[kept], scores[kept]


def of_anchors(x: Any, numbers: int) -> np.ndarray:
    """A map (N, anchors * numbers, H, W) as rows (N, H * W * anchors, numbers), in the order of `grid`."""
    return x.asnumpy().transpose(0, 2, 3, 1).reshape(len(x), -1, numbers)


class BoxHead(mx.gluon.HybridBlock):
    """Regions (K, C, 7, 7) -> logits (K, classes + 1), background last, and deltas (K, classes or 1, 4)."""

    def __init__(self, head: BoxHeadSpec, norm_layer: NormLayer = BatchNorm, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.fc_cls = linear(head.classifier, std=CLASSIFIER_STD)
            self.fc_reg = linear(head.regression, std=REGRESSION_STD)
            self.shared_convs = sequential([ConvUnit(conv, norm_layer) for conv in head.convs])
            self.shared_fcs = sequential([linear(head.fc)])

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        x = F.relu(self.shared_fcs(self.shared_convs(x)))
        return self.fc_cls(x), self.fc_reg(x).reshape((0, -1, 4))


class MaskHead(mx.gluon.HybridBlock):
    """Regions (K, C, 14, 14) -> logits of a mask of each class (K, classes, 28, 28)."""

    def __init__(self, head: MaskHeadSpec, norm_layer: NormLayer = BatchNorm, **kwargs: Any):
        super().__init__(**kwargs)
        drawn = mx.init.MSRAPrelu("out", slope=0)
        with self.name_scope():
            self.convs = sequential([ConvUnit(conv, norm_layer) for conv in head.convs])
            self.upsample = nn.Conv2DTranspose(
                head.upsample.out_channels, 2, strides=2, in_channels=head.channels, weight_initializer=drawn
            )
            self.conv_logits = conv2d(head.classifier)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.conv_logits(F.relu(self.upsample(self.convs(x))))


def linear(layer: Linear, std: float | None = None) -> Any:
    """The layer; its weight is drawn from N(0, std squared), or without `std` as Xavier and Bengio do."""
    drawn = mx.init.Xavier(magnitude=3) if std is None else mx.init.Normal(std)
    return nn.Dense(layer.out_features, in_units=layer.in_features, weight_initializer=drawn)
