"""ResNeSt in MXNet Gluon, leaf to root: block, network, feature extractor."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

from resnest.gluon._mxnet import mx
from resnest.gluon.deploy import deploy
from resnest.gluon.layers.basic import (
    BatchNorm,
    Identity,
    NormLayer,
    avg_pool2d,
    check_batch,
    conv2d,
    max_pool2d,
    nn,
    norm_after,
    norm_numbers,
    norm_of,
    sequential,
)
from resnest.gluon.layers.dropblock import DropBlock
from resnest.gluon.layers.splat import SplitAttention
from resnest.gluon.weights import OnContexts, SavedModel
from resnest.specs.blocks import STEM_POOL, BlockSpec
from resnest.specs.recipe import DropBlockRecipe
from resnest.specs.resnest import ResNeStSpec, check_out_indices


class Bottleneck(mx.gluon.HybridBlock):
    """One residual block: (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""

    def __init__(
        self,
        block: BlockSpec,
        norm_layer: NormLayer = BatchNorm,
        dropblock_prob: float = 0.0,
        last_gamma: bool = False,
        split_drop_ratio: float = 0.0,
        dropblock_place: str = "inside",
        dropblock_mask: str = "sample",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        prob = dropblock_prob if block.dropblock else 0.0
        after = bool(prob) and dropblock_place == "after"
        norm_layer = norm_after(block.deploy, norm_layer)
        last_norm = partial(norm_layer, gamma_initializer="zeros") if last_gamma else norm_layer
        with self.name_scope():
            self.conv1 = conv2d(block.conv1)
            self.bn1 = norm_layer(in_channels=block.conv1.out_channels)
            self.dropblock1 = DropBlock(prob, mask=dropblock_mask) if prob else Identity()
            self.relu1 = nn.Activation("relu")
            self.pool_before = avg_pool2d(block.pool_before)
            self.conv2 = SplitAttention(
                block.attention, norm_layer, 0.0 if after else prob, split_drop_ratio, dropblock_mask
            )
            self.dropblock2 = DropBlock(prob, mask=dropblock_mask) if after else Identity()
            self.pool_after = avg_pool2d(block.pool_after)
            self.conv3 = conv2d(block.conv3)
            self.bn3 = last_norm(in_channels=block.conv3.out_channels)
            self.dropblock3 = DropBlock(prob, mask=dropblock_mask) if prob else Identity()
            self.relu3 = nn.Activation("relu")
            self.downsample = projection(block, norm_layer)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        shortcut = self.downsample(x)
        x = self.relu1(self.dropblock1(self.bn1(self.conv1(x))))
        x = self.pool_after(self.dropblock2(self.conv2(self.pool_before(x))))
        return self.relu3(self.dropblock3(self.bn3(self.conv3(x))) + shortcut)


def projection(block: BlockSpec, norm_layer: NormLayer = BatchNorm) -> Any:
    """The block's shortcut: pooling, convolution and norm, or Identity."""
    if block.projection is None:
        return Identity()
    layers = [conv2d(block.projection), norm_layer(in_channels=block.projection.out_channels)]
    if block.projection_pool is not None:
        layers.insert(0, avg_pool2d(block.projection_pool))
    return sequential(layers)


class ResNeSt(OnContexts, mx.gluon.HybridBlock, SavedModel):
    """A ResNeSt classifier (paper, table 1 and section 5): (N, in_channels, H, W) -> logits (N, num_classes).

    `norm_layer` builds a norm from `in_channels` and `norm_kwargs`; `use_global_stats` makes
    batch norms use their running statistics in training too. `final_drop` is the dropout
    before the classifier; `split_drop_ratio` the one inside split attention; `dropblock_prob`
    drops blocks in stages 3 and 4, at the `dropblock_place` and with the `dropblock_mask` that
    `resnest.specs.recipe.DropBlockRecipe` has; `last_gamma` starts the last norm of each block at zero,
    so that each block starts as its shortcut.
    """

    def __init__(
        self,
        spec: ResNeStSpec,
        *,
        norm_layer: NormLayer = BatchNorm,
        norm_kwargs: dict[str, Any] | None = None,
        use_global_stats: bool = False,
        final_drop: float = 0.0,
        dropblock_prob: float = 0.0,
        last_gamma: bool = False,
        split_drop_ratio: float = 0.0,
        dropblock_place: str = "inside",
        dropblock_mask: str = "sample",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.spec = spec
        self.feature_channels = list(spec.feature_channels)
        self.feature_strides = list(spec.feature_strides)
        drops = DropBlockRecipe(dropblock_prob, dropblock_place, dropblock_mask)
        norm_kwargs = dict(norm_kwargs or {})
        if use_global_stats:
            norm_kwargs["use_global_stats"] = True
        norm_layer = norm_of(spec, partial(norm_layer, **norm_kwargs))
        with self.name_scope():
            self.conv1 = stem(spec, norm_layer)
            self.bn1 = norm_layer(in_channels=spec.stem_channels)
            self.relu = nn.Activation("relu")
            self.maxpool = max_pool2d(STEM_POOL)
            stages: list[list[Any]] = [[] for _ in spec.stage_depths]
            for block in spec.blocks():
                # Without a prefix of its own an exported block would not say which stage it is in.
                prefix = f"layer{block.stage}_{block.index}_"
                options = last_gamma, split_drop_ratio, drops.place, drops.mask
                stages[block.stage - 1].append(Bottleneck(block, norm_layer, drops.prob, *options, prefix=prefix))
            self.layer1, self.layer2, self.layer3, self.layer4 = (sequential(blocks) for blocks in stages)
            self.avgpool = nn.GlobalAvgPool2D()
            self.flatten = nn.Flatten()
            self.drop = nn.Dropout(final_drop) if final_drop else Identity()
            self.fc = classifier(spec)
        self.spec = dataclasses.replace(spec, **norm_numbers(self.bn1))  # a norm layer may bring its own

    def forward_stem(self, x: Any) -> Any:
        return self.maxpool(self.relu(self.bn1(self.conv1(x))))

    def forward_stages(self, x: Any) -> list[Any]:
        """The feature maps `[stem, stage 1, .. stage 4]`, each (N, C, H / stride, W / stride)."""
        self.check_input(x)
        stem = self.forward_stem(x)
        stage1 = self.layer1(stem)
        stage2 = self.layer2(stage1)
        stage3 = self.layer3(stage2)
        return [stem, stage1, stage2, stage3, self.layer4(stage3)]

    def forward(self, x: Any, *args: Any) -> Any:
        self.check_input(x)
        return super().forward(x, *args)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        # Unlike in forward_stages, a feature map goes when the next stage has read it.
        x = self.layer2(self.layer1(self.forward_stem(x)))
        x = self.layer4(self.layer3(x))
        return self.fc(self.drop(self.flatten(self.avgpool(x))))

    def check_input(self, x: Any) -> None:
        """Raise ValueError for an image that MXNet's poolings or batch norms cannot take."""
        check_batch(x, self.bn1)
        if isinstance(x, mx.nd.NDArray):
            self.spec.check_size(*x.shape[2:])

    def deploy(self) -> ResNeSt:
        """A new model that predicts the same without batch norms: see `resnest.gluon.deploy`."""
        return deploy(self)

    def rebuilt(self, spec: ResNeStSpec) -> ResNeSt:
        """A network of the same kind for another `spec`, freshly drawn and without dropout or norms of its own."""
        return self.from_spec(spec)

    def reset_classifier(self, num_classes: int) -> None:
        """Put a fresh classifier for `num_classes` in place; 0 gives the pooled features (N, C) instead."""
        self.spec = dataclasses.replace(self.spec, num_classes=num_classes)
        weight = self.layer1[0].conv1.weight
        del self.fc  # Gluon lets no attribute change its type
        with self.name_scope():
            self.fc = classifier(self.spec)
        self.fc.cast(weight.dtype)
        self.fc.initialize(ctx=weight.list_ctx())


class ResNeStFeatures(ResNeSt):
    """A ResNeSt backbone: (N, in_channels, H, W) -> the feature maps of `out_indices`, 0 the stem, 1 to 4 the stages.

    `feature_channels` and `feature_strides` tell their channels and strides. Stages past the
    last one asked for are not built.
    """

    def __init__(self, spec: ResNeStSpec, *, out_indices: Sequence[int] = (1, 2, 3, 4), **options: Any):
        super().__init__(dataclasses.replace(spec, num_classes=0), **options)
        self.out_indices = check_out_indices(out_indices)
        self.feature_channels = [self.feature_channels[i] for i in self.out_indices]
        self.feature_strides = [self.feature_strides[i] for i in self.out_indices]
        for stage in range(max(self.out_indices) + 1, 5):
            setattr(self, f"layer{stage}", sequential([]))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        stages = self.forward_stages(x)
        return [stages[i] for i in self.out_indices]

    def rebuilt(self, spec: ResNeStSpec) -> ResNeStFeatures:
        return self.from_spec(spec, out_indices=self.out_indices)

    def reset_classifier(self, num_classes: int) -> None:
        raise TypeError("a backbone built with features_only=True has no classifier to reset")


def stem(spec: ResNeStSpec, norm_layer: NormLayer = BatchNorm) -> Any:
    """The stem up to its last convolution, whose norm is the network's `bn1`."""
    *inner, last = spec.stem()
    if not inner:
        return conv2d(last.conv)
    layers: list[Any] = []
    for layer in inner:
        layers += [conv2d(layer.conv), norm_layer(in_channels=layer.conv.out_channels), nn.Activation("relu")]
    return sequential([*layers, conv2d(last.conv)])


def classifier(spec: ResNeStSpec) -> Any:
    if not spec.num_classes:
        return Identity()
    channels = spec.feature_channels[-1]
    return nn.Dense(spec.num_classes, in_units=channels, weight_initializer=mx.init.Uniform(channels**-0.5))
