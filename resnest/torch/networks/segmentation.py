"""Semantic segmentation on ResNeSt in PyTorch, leaf to root: heads, network."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnest.backends.choose import arrays_of
from resnest.specs.segmentation.heads import CLASSIFIER_STD, ASPPSpec, FCNSpec, HeadSpec, PSPSpec, SeparableASPPSpec
from resnest.specs.segmentation.network import SegmentationSpec
from resnest.specs.segmentation.published import get_segmentation_spec
from resnest.torch.deploy import deploy
from resnest.torch.layers.basic import BatchNorm, NormLayer, conv2d, init_conv2d, lying_like, norm_of, reset
from resnest.torch.layers.units import pooled_unit, resize_like, unit
from resnest.torch.networks.resnest import ResNeStFeatures
from resnest.torch.weights import SavedModel, filled


class Head(nn.Module):
    """What all heads end in: dropout and the classifier, `conv_seg`."""

    def __init__(self, head: HeadSpec):
        super().__init__()
        self.conv_seg = conv2d(head.classifier)
        self.dropout = nn.Dropout2d(head.dropout)

    def draw_classifier(self) -> None:
        """Draw a classifier from which training starts at even odds."""
        weight, bias = self.conv_seg.parameters()
        nn.init.normal_(weight, std=CLASSIFIER_STD)
        nn.init.zeros_(bias)

    def features(self, stages: list[Tensor]) -> Tensor:
        """What the classifier sees, from the feature maps of stages 1 to 4."""
        raise NotImplementedError

    def forward(self, stages: list[Tensor]) -> Tensor:
        return self.conv_seg(self.dropout(self.features(stages)))


class FCNHead(Head):
    """3x3 convolutions on stage 4, or on the stage that is given alone."""

    def __init__(self, head: FCNSpec, norm_layer: NormLayer = BatchNorm):
        super().__init__(head)
        self.convs = nn.Sequential(*(unit(conv, norm_layer) for conv in head.convs))
        self.conv_cat = unit(head.join, norm_layer) if head.join else None

    def features(self, stages: list[Tensor]) -> Tensor:
        x = self.convs(stages[-1])
        if self.conv_cat is None:
            return x
        return self.conv_cat(torch.cat([stages[-1], x], dim=1))


class PSPHead(Head):
    """PSPNet: stage 4 beside its means over coarser and coarser grids."""

    def __init__(self, head: PSPSpec, norm_layer: NormLayer = BatchNorm):
        super().__init__(head)
        self.psp_modules = nn.ModuleList(pooled_unit(scale, head.pooled, norm_layer) for scale in head.pool_scales)
        self.bottleneck = unit(head.bottleneck, norm_layer)

    def features(self, stages: list[Tensor]) -> Tensor:
        x = stages[-1]
        seen = [x]
        for module in self.psp_modules:
            seen.append(resize_like(module(x), x))  # TorchScript unpacks no list into another
        return self.bottleneck(torch.cat(seen, dim=1))


class ASPPHead(Head):
    """DeepLabV3: stage 4 at several dilations, beside its mean."""

    def __init__(self, head: ASPPSpec, norm_layer: NormLayer = BatchNorm):
        super().__init__(head)
        self.pooled_first = head.pooled_first
        self.image_pool = pooled_unit(1, head.pooled, norm_layer)
        self.aspp_modules = nn.ModuleList(unit(conv, norm_layer) for conv in head.branches)
        self.bottleneck = unit(head.bottleneck, norm_layer)

    def features(self, stages: list[Tensor]) -> Tensor:
        return self.join(stages[-1])

    def join(self, x: Tensor) -> Tensor:
        """What all branches see of stage 4, (N, channels, H, W)."""
        pooled = [resize_like(self.image_pool(x), x)]
        seen = [module(x) for module in self.aspp_modules]
        return self.bottleneck(torch.cat(pooled + seen if self.pooled_first else seen + pooled, dim=1))


class SeparableASPPHead(ASPPHead):
    """DeepLabV3+: the same with separable convolutions, decoded beside stage 1 at its resolution."""

    def __init__(self, head: SeparableASPPSpec, norm_layer: NormLayer = BatchNorm):
        super().__init__(head, norm_layer)
        self.c1_bottleneck = unit(head.fine, norm_layer)
        self.sep_bottleneck = nn.Sequential(*(unit(conv, norm_layer) for conv in head.decoder))

    def features(self, stages: list[Tensor]) -> Tensor:
        fine = self.c1_bottleneck(stages[0])
        return self.sep_bottleneck(torch.cat([resize_like(self.join(stages[-1]), fine), fine], dim=1))


HEADS: dict[str, Any] = {"fcn": FCNHead, "psp": PSPHead, "aspp": ASPPHead, "aspp_sep": SeparableASPPHead}


class Segmenter(nn.Module, SavedModel):
    """A segmentation network: (N, in_channels, H, W) -> logits (N, num_classes, h, w) at its head's own resolution.

    In training mode it gives the auxiliary head's logits (N, num_classes, H / 8, W / 8) too.
    `norm_layer` builds a norm from a number of channels.
    """

    SPEC = SegmentationSpec

    def __init__(self, spec: SegmentationSpec, *, norm_layer: NormLayer = BatchNorm):
        super().__init__()
        self.backbone = ResNeStFeatures(spec.backbone, norm_layer=norm_layer)
        self.spec = dataclasses.replace(spec, backbone=self.backbone.spec)
        norm_layer = norm_of(spec.backbone, norm_layer)
        self.decode_head = HEADS[spec.head](spec.decode_head, norm_layer)
        auxiliary = spec.auxiliary_head
        self.auxiliary_head = FCNHead(auxiliary, norm_layer) if isinstance(auxiliary, FCNSpec) else None
        self.draw_weights()

    def init_weights(self) -> None:
        """Draw all weights and statistics anew, after `to_empty` too."""
        reset(self)
        self.draw_weights()

    def draw_weights(self) -> None:
        """Draw what the layers have drawn otherwise than the authors' code and mmsegmentation do."""
        if next(self.parameters()).is_meta:  # nothing to draw, and PyTorch would load its compiler to find that out
            return
        self.apply(init_conv2d)
        for head in (self.decode_head, self.auxiliary_head):
            if head is not None:
                head.draw_classifier()

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The backbone's feature maps `[stem, stage 1, .. stage 4]`, each (N, C, H / stride, W / stride)."""
        return self.backbone.forward_stages(x)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        stages = self.backbone(x)  # which gives its maps back contiguous: dilated heads are no faster channels last
        logits = lying_like(self.decode_head(stages), x)
        if self.auxiliary_head is None or not self.training:
            return logits
        return logits, lying_like(self.auxiliary_head(stages[:3]), x)

    def predict(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes, H, W) at the input's resolution, without training."""
        modes = [(module, module.training) for module in self.modules()]  # frozen norms are in eval mode already
        with torch.no_grad():
            try:
                return resize_like(self.eval()(x), x)
            finally:
                for module, training in modes:
                    module.training = training

    def deploy(self) -> Segmenter:
        """A new model that predicts the same without batch norms: see `resnest.torch.deploy`."""
        return deploy(self)

    def rebuilt(self, spec: SegmentationSpec) -> Segmenter:
        """A network of the same kind for another `spec`, freshly drawn and without norms of its own."""
        return self.from_spec(spec)


def create_segmenter(
    name: str,
    *,
    weights: Mapping[str, np.ndarray] | str | os.PathLike | None = None,
    which: str | None = None,
    **changes: Any,
) -> Segmenter:
    """The segmentation network called `name`, with freshly drawn weights or with `weights`.

    `weights` are canonical arrays or a weight file, in mmsegmentation's or sssegmentation's
    names, `which` of its networks as in `resnest.weights.load`. `changes` are fields of `resnest.SegmentationSpec`
    and `norm_layer`.

    Raises ValueError for an unknown name, for values that make no network and for weights that
    are not its own, and TypeError for an unknown word.
    """
    options = {word: changes.pop(word) for word in ("norm_layer",) if word in changes}
    spec = get_segmentation_spec(name, **changes)
    arrays = arrays_of(weights, which)
    model: Segmenter = filled(partial(Segmenter, spec, **options), arrays, copy=arrays is weights)
    return model
