"""ResNeSt in MXNet Gluon, leaf to root: block, network, feature extractor."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

from resnest.backends.contract import Contract, check_format, features, next_pool, take_indices
from resnest.gluon._mxnet import mx
from resnest.gluon.deploy import deploy
from resnest.gluon.layers.basic import (
    BatchNorm,
    Identity,
    NormLayer,
    activation,
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
from resnest.gluon.layers.drop_path import DropPath
from resnest.gluon.layers.dropblock import DropBlock
from resnest.gluon.layers.global_pool import flatten
from resnest.gluon.layers.global_pool import global_pool as pooling
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
        drop_path_prob: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        prob = dropblock_prob if block.dropblock else 0.0
        after = bool(prob) and dropblock_place == "after"
        path_prob = block.drop_path(drop_path_prob)
        norm_layer = norm_after(block.deploy, norm_layer)
        last_norm = partial(norm_layer, gamma_initializer="zeros") if last_gamma else norm_layer
        with self.name_scope():
            self.conv1 = conv2d(block.conv1)
            self.bn1 = norm_layer(in_channels=block.conv1.out_channels)
            self.dropblock1 = DropBlock(prob, mask=dropblock_mask) if prob else Identity()
            self.relu1 = activation(block.activation)
            self.pool_before = avg_pool2d(block.pool_before)
            self.conv2 = SplitAttention(
                block.attention, norm_layer, 0.0 if after else prob, split_drop_ratio, dropblock_mask
            )
            self.dropblock2 = DropBlock(prob, mask=dropblock_mask) if after else Identity()
            self.pool_after = avg_pool2d(block.pool_after)
            self.conv3 = conv2d(block.conv3)
            self.bn3 = last_norm(in_channels=block.conv3.out_channels)
            self.dropblock3 = DropBlock(prob, mask=dropblock_mask) if prob else Identity()
            self.drop_path = DropPath(path_prob) if path_prob else Identity()
            self.relu3 = activation(block.activation)
            self.downsample = projection(block, norm_layer)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        shortcut = self.downsample(x)
        x = self.relu1(self.dropblock1(self.bn1(self.conv1(x))))
        x = self.pool_after(self.dropblock2(self.conv2(self.pool_before(x))))
        x = self.drop_path(self.dropblock3(self.bn3(self.conv3(x))))
        return self.relu3(x + shortcut)


def projection(block: BlockSpec, norm_layer: NormLayer = BatchNorm) -> Any:
    """The block's shortcut: pooling, convolution and norm, or Identity."""
    if block.projection is None:
        return Identity()
    layers = [conv2d(block.projection), norm_layer(in_channels=block.projection.out_channels)]
    if block.projection_pool is not None:
        layers.insert(0, avg_pool2d(block.projection_pool))
    return sequential(layers)


class ResNeSt(Contract, OnContexts, mx.gluon.HybridBlock, SavedModel):
    """A ResNeSt classifier (paper, table 1 and section 5): (N, in_channels, H, W) -> logits (N, num_classes).

    `norm_layer` builds a norm from `in_channels` and `norm_kwargs`; `use_global_stats` makes
    batch norms use their running statistics in training too. `final_drop` is the dropout
    before the classifier; `split_drop_ratio` the one inside split attention; `dropblock_prob`
    drops squares of pixels in stages 3 and 4, at the `dropblock_place` and with the `dropblock_mask` that
    `resnest.specs.recipe.DropBlockRecipe` has; `drop_path_prob` leaves the last block of all out, earlier ones
    less often; `last_gamma` starts the last norm of each block at zero, so that each block starts as its
    shortcut. It keeps timm's contract too: see `resnest.backends.contract`.
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
        drop_path_prob: float = 0.0,
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
            self.relu = activation(spec.activation)
            self.maxpool = max_pool2d(STEM_POOL)
            stages: list[list[Any]] = [[] for _ in spec.stage_depths]
            for block in spec.blocks():
                # Without a prefix of its own an exported block would not say which stage it is in.
                prefix = f"layer{block.stage}_{block.index}_"
                options = last_gamma, split_drop_ratio, drops.place, drops.mask, drop_path_prob
                stages[block.stage - 1].append(Bottleneck(block, norm_layer, drops.prob, *options, prefix=prefix))
            self.layer1, self.layer2, self.layer3, self.layer4 = (sequential(blocks) for blocks in stages)
            self.avgpool = pooling(spec.global_pool)
            self.flatten = flatten(spec.global_pool)
            self.drop = nn.Dropout(final_drop) if final_drop else Identity()
            self.fc = classifier(spec.num_classes, spec.pooled_channels)
        self.spec = spec.renormed(**norm_numbers(self.bn1))  # a norm layer may bring its own

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

    def forward_features(self, x: Any) -> Any:
        """The last feature map, (N, C, H / stride, W / stride)."""
        self.check_input(x)
        # Unlike in forward_stages, a feature map goes when the next stage has read it.
        x = self.layer2(self.layer1(self.forward_stem(x)))
        return self.layer4(self.layer3(x))

    def forward_head(self, x: Any, pre_logits: bool = False) -> Any:
        """The logits, (N, num_classes), of the last feature map; `pre_logits` is what the classifier sees."""
        x = self.drop(self.flatten(self.avgpool(x)))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Any, *args: Any) -> Any:
        self.check_input(x)
        return super().forward(x, *args)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Any,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """The last feature map and those of `indices`, or these alone: timm's, 0 the stem before its pooling.

        `indices` are as in `out_indices`; the maps come in their order. `stop_early` leaves out what is
        behind the last of them. `norm` changes nothing: a ResNeSt ends with none. Raises ValueError for another
        `output_fmt` than NCHW and for an index that there is not.
        """
        wanted = take_indices(indices, self.last_stage)
        check_format(output_fmt)
        self.check_input(x)
        x = self.relu(self.bn1(self.conv1(x)))
        maps = {0: x}
        if not stop_early or max(wanted) > 0:
            x = self.maxpool(x)
        for index, stage in enumerate((self.layer1, self.layer2, self.layer3, self.layer4), 1):
            if not stop_early or index <= max(wanted):
                maps[index] = x = stage(x)
        taken = [maps[index] for index in wanted]
        return taken if intermediates_only else (x, taken)

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Take out the stages behind the last of `indices`, and the head; gives the indices, from 0 to 4.

        Raises ValueError for an index that there is not.
        """
        wanted = take_indices(indices, self.last_stage)
        self.last_stage = max(wanted)
        for stage in range(self.last_stage + 1, 5):
            setattr(self, f"layer{stage}", sequential([]))
        if self.last_stage == 0:
            self.exchange("maxpool", Identity())
        if prune_head or self.last_stage < 4:
            self.reset_classifier(0, "")
        return wanted

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

    def get_classifier(self, name_only: bool = False) -> Any:
        """The classifier, Identity where there is none, or its name."""
        return "fc" if name_only else self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a fresh classifier for `num_classes` in place; 0 gives the pooled features (N, C) instead.

        `global_pool` is another pooling, one of the spec's `GLOBAL_POOLS`; "" and no classes give the
        last feature map. A network without a pooling gets the usual one with its new classes. Raises ValueError
        where they make no network.
        """
        pool = next_pool(self.spec, num_classes, global_pool)
        self.spec = dataclasses.replace(self.spec, num_classes=num_classes, global_pool=pool)
        self.classes = None
        weight = next(iter(self.conv1.collect_params().values()))
        with self.name_scope():
            self.exchange("avgpool", pooling(pool))
            self.exchange("flatten", flatten(pool))
            self.exchange("fc", classifier(num_classes, self.head_hidden_size))
        self.fc.cast(weight.dtype)
        self.fc.initialize(ctx=weight.list_ctx())

    def exchange(self, name: str, block: Any) -> None:
        """Put `block` in the place called `name`, of whatever kind what was there is."""
        delattr(self, name)  # Gluon lets no attribute change its type
        setattr(self, name, block)


class ResNeStFeatures(ResNeSt):
    """A ResNeSt backbone: (N, in_channels, H, W) -> the feature maps of `out_indices`, 0 the stem, 1 to 4 the stages.

    `feature_channels` and `feature_strides` tell their channels and strides. Stages past the
    last one asked for are not built.
    """

    def __init__(self, spec: ResNeStSpec, *, out_indices: int | Sequence[int] = (1, 2, 3, 4), **options: Any):
        super().__init__(dataclasses.replace(spec, num_classes=0), **options)
        self.out_indices = check_out_indices(out_indices)
        self.feature_channels = [self.feature_channels[i] for i in self.out_indices]
        self.feature_strides = [self.feature_strides[i] for i in self.out_indices]
        self.last_stage = max(self.out_indices)
        for stage in range(self.last_stage + 1, 5):
            setattr(self, f"layer{stage}", sequential([]))

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        stages = self.forward_stages(x)
        return [stages[i] for i in self.out_indices]

    @property
    def feature_info(self) -> Any:
        """Channels, stride and module of each map that comes out."""
        return features(self.spec, self.out_indices)

    def rebuilt(self, spec: ResNeStSpec) -> ResNeStFeatures:
        return self.from_spec(spec, out_indices=self.out_indices)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        raise TypeError("a backbone built with features_only=True has no classifier to reset")


def stem(spec: ResNeStSpec, norm_layer: NormLayer = BatchNorm) -> Any:
    """The stem up to its last convolution, whose norm is the network's `bn1`."""
    *inner, last = spec.stem()
    if not inner:
        return conv2d(last.conv)
    layers: list[Any] = []
    for layer in inner:
        layers += [conv2d(layer.conv), norm_layer(in_channels=layer.conv.out_channels), activation(spec.activation)]
    return sequential([*layers, conv2d(last.conv)])


def classifier(num_classes: int, channels: int) -> Any:
    if not num_classes:
        return Identity()
    return nn.Dense(num_classes, in_units=channels, weight_initializer=mx.init.Uniform(channels**-0.5))
