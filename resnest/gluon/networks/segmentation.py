"""Semantic segmentation on ResNeSt in MXNet Gluon, leaf to root: heads, network."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from resnest.backends.choose import arrays_of
from resnest.gluon._mxnet import mx
from resnest.gluon.deploy import deploy
from resnest.gluon.layers.basic import BatchNorm, NormLayer, conv2d, nn, norm_of, sequential
from resnest.gluon.layers.units import operators_for, pooled_unit, resize_like, unit
from resnest.gluon.networks.resnest import ResNeStFeatures
from resnest.gluon.weights import OnContexts, SavedModel, filled
from resnest.specs.segmentation.heads import CLASSIFIER_STD, ASPPSpec, FCNSpec, HeadSpec, PSPSpec, SeparableASPPSpec
from resnest.specs.segmentation.network import SegmentationSpec
from resnest.specs.segmentation.published import get_segmentation_spec


class Head(mx.gluon.Block):
    """What all heads end in: dropout and the classifier, `conv_seg`.

    A head resizes to the shape of what it got, so only the parts of it are hybrid.
    """

    def __init__(self, head: HeadSpec, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.conv_seg = conv2d(head.classifier, std=CLASSIFIER_STD)
            self.dropout = nn.Dropout(head.dropout, axes=(2, 3))  # whole channels

    def features(self, stages: list[Any]) -> Any:
        """What the classifier sees, from the feature maps of stages 1 to 4."""
        raise NotImplementedError

    def forward(self, stages: list[Any]) -> Any:
        return self.conv_seg(self.dropout(self.features(stages)))


class FCNHead(Head):
    """3x3 convolutions on stage 4, or on the stage that is given alone."""

    def __init__(self, head: FCNSpec, norm_layer: NormLayer = BatchNorm, **kwargs: Any):
        super().__init__(head, **kwargs)
        with self.name_scope():
            self.convs = sequential([unit(conv, norm_layer) for conv in head.convs])
            self.conv_cat = unit(head.join, norm_layer) if head.join else None

    def features(self, stages: list[Any]) -> Any:
        x = self.convs(stages[-1])
        if self.conv_cat is None:
            return x
        return self.conv_cat(operators_for(x).concat(stages[-1], x, dim=1))


class PSPHead(Head):
    """PSPNet: stage 4 beside its means over coarser and coarser grids."""

    def __init__(self, head: PSPSpec, norm_layer: NormLayer = BatchNorm, **kwargs: Any):
        super().__init__(head, **kwargs)
        with self.name_scope():
            self.psp_modules = sequential([pooled_unit(scale, head.pooled, norm_layer) for scale in head.pool_scales])
            self.bottleneck = unit(head.bottleneck, norm_layer)

    def features(self, stages: list[Any]) -> Any:
        x = stages[-1]
        pooled = [resize_like(module(x), x) for module in self.psp_modules]
        return self.bottleneck(operators_for(x).concat(x, *pooled, dim=1))


class ASPPHead(Head):
    """DeepLabV3: stage 4 at several dilations, beside its mean."""

    def __init__(self, head: ASPPSpec, norm_layer: NormLayer = BatchNorm, **kwargs: Any):
        super().__init__(head, **kwargs)
        self.pooled_first = head.pooled_first
        with self.name_scope():
            self.image_pool = pooled_unit(1, head.pooled, norm_layer)
            self.aspp_modules = sequential([unit(conv, norm_layer) for conv in head.branches])
            self.bottleneck = unit(head.bottleneck, norm_layer)

    def features(self, stages: list[Any]) -> Any:
        return self.join(stages[-1])

    def join(self, x: Any) -> Any:
        """What all branches see of stage 4, (N, channels, H, W)."""
        pooled = [resize_like(self.image_pool(x), x)]
        seen = [module(x) for module in self.aspp_modules]
        joined = pooled + seen if self.pooled_first else seen + pooled
        return self.bottleneck(operators_for(x).concat(*joined, dim=1))


class SeparableASPPHead(ASPPHead):
    """DeepLabV3+: the same with separable convolutions, decoded beside stage 1 at its resolution."""

    def __init__(self, head: SeparableASPPSpec, norm_layer: NormLayer = BatchNorm, **kwargs: Any):
        super().__init__(head, norm_layer, **kwargs)
        with self.name_scope():
            self.c1_bottleneck = unit(head.fine, norm_layer)
            self.sep_bottleneck = sequential([unit(conv, norm_layer) for conv in head.decoder])

    def features(self, stages: list[Any]) -> Any:
        fine = self.c1_bottleneck(stages[0])
        seen = resize_like(self.join(stages[-1]), fine)
        return self.sep_bottleneck(operators_for(fine).concat(seen, fine, dim=1))


HEADS: dict[str, Any] = {"fcn": FCNHead, "psp": PSPHead, "aspp": ASPPHead, "aspp_sep": SeparableASPPHead}


class Segmenter(OnContexts, mx.gluon.Block, SavedModel):
    """A segmentation network: (N, in_channels, H, W) -> logits (N, num_classes, h, w) at its head's own resolution.

    In training mode it gives the auxiliary head's logits (N, num_classes, H / 8, W / 8) too.
    `norm_layer` builds a norm from `in_channels`.
    """

    SPEC = SegmentationSpec

    def __init__(self, spec: SegmentationSpec, *, norm_layer: NormLayer = BatchNorm, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.backbone = ResNeStFeatures(spec.backbone, norm_layer=norm_layer)
            self.spec = dataclasses.replace(spec, backbone=self.backbone.spec)
            norm_layer = norm_of(spec.backbone, norm_layer)
            self.decode_head = HEADS[spec.head](spec.decode_head, norm_layer)
            auxiliary = spec.auxiliary_head
            self.auxiliary_head = FCNHead(auxiliary, norm_layer) if isinstance(auxiliary, FCNSpec) else None

    def forward_stages(self, x: Any) -> list[Any]:
        """The backbone's feature maps `[stem, stage 1, .. stage 4]`, each (N, C, H / stride, W / stride)."""
        return self.backbone.forward_stages(x)

    def forward(self, x: Any) -> Any:
        stages = self.backbone(x)
        logits = self.decode_head(stages)
        if self.auxiliary_head is None or not mx.autograd.is_training():
            return logits
        return logits, self.auxiliary_head(stages[:3])

    def predict(self, x: Any) -> Any:
        """Logits (N, num_classes, H, W) at the input's resolution, without training."""
        with mx.autograd.pause(train_mode=False):
            return resize_like(self(x), x)

    def deploy(self) -> Segmenter:
        """A new model that predicts the same without batch norms: see `resnest.gluon.deploy`."""
        return deploy(self)

    def rebuilt(self, spec: SegmentationSpec) -> Segmenter:
        """A network of the same kind for another `spec`, freshly drawn and without norms of its own."""
        return self.from_spec(spec)


def create_segmenter(
    name: str,
    *,
    weights: Mapping[str, np.ndarray] | str | os.PathLike | None = None,
    which: str | None = None,
    ctx: Any = None,
    **changes: Any,
) -> Segmenter:
    """The segmentation network called `name`, on the context or contexts `ctx`, freshly drawn or with `weights`.

    `weights` are canonical arrays or a weight file, in mmsegmentation's or sssegmentation's
    names, `which` of its networks as in `resnest.weights.load`. `changes` are fields of `resnest.SegmentationSpec`
    and `norm_layer`.

    Raises ValueError for an unknown name, for values that make no network and for weights that
    are not its own, and TypeError for an unknown word.
    """
    options = {word: changes.pop(word) for word in ("norm_layer",) if word in changes}
    spec = get_segmentation_spec(name, **changes)
    arrays = arrays_of(weights, which)
    model: Segmenter = filled(partial(Segmenter, spec, **options), arrays, ctx=ctx, copy=arrays is weights)
    return model
