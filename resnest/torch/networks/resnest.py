"""ResNeSt in PyTorch, leaf to root: block, network, feature extractor."""

# No `from __future__ import annotations`: torch.fx copies them, and TorchScript reads types there, not names.

import dataclasses
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from resnest.backends.contract import Contract, check_format, features, next_pool, take_indices
from resnest.specs.blocks import STEM_POOL, BlockSpec
from resnest.specs.recipe import DropBlockRecipe
from resnest.specs.resnest import ResNeStSpec, check_out_indices
from resnest.torch.deploy import deploy
from resnest.torch.layers.basic import (
    BatchNorm,
    NormLayer,
    activation,
    avg_pool2d,
    conv2d,
    init_conv2d,
    laid_out,
    lying_like,
    many_pixels,
    max_pool2d,
    norm_after,
    norm_numbers,
    norm_of,
    reset,
)
from resnest.torch.layers.drop_path import DropPath
from resnest.torch.layers.dropblock import DropBlock
from resnest.torch.layers.global_pool import flatten
from resnest.torch.layers.global_pool import global_pool as pooling
from resnest.torch.layers.splat import SplitAttention
from resnest.torch.layers.stage import Stage
from resnest.torch.weights import SavedModel


class Bottleneck(nn.Module):
    """One residual block: (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""

    def __init__(
        self,
        block: BlockSpec,
        norm_layer: NormLayer = BatchNorm,
        dropblock_prob: float = 0.0,
        dropblock_place: str = "inside",
        dropblock_mask: str = "sample",
        drop_path_prob: float = 0.0,
    ):
        super().__init__()
        prob = dropblock_prob if block.dropblock else 0.0
        after = bool(prob) and dropblock_place == "after"
        path_prob = block.drop_path(drop_path_prob)
        norm_layer = norm_after(block.deploy, norm_layer)
        self.conv1 = conv2d(block.conv1)
        self.bn1 = norm_layer(block.conv1.out_channels)
        self.dropblock1 = DropBlock(prob, mask=dropblock_mask) if prob else nn.Identity()
        self.relu1 = activation(block.activation)
        self.pool_before = avg_pool2d(block.pool_before)
        self.conv2 = SplitAttention(block.attention, norm_layer, 0.0 if after else prob, dropblock_mask)
        self.dropblock2 = DropBlock(prob, mask=dropblock_mask) if after else nn.Identity()
        self.pool_after = avg_pool2d(block.pool_after)
        self.conv3 = conv2d(block.conv3)
        self.bn3 = norm_layer(block.conv3.out_channels)
        self.dropblock3 = DropBlock(prob, mask=dropblock_mask) if prob else nn.Identity()
        self.drop_path = DropPath(path_prob) if path_prob else nn.Identity()
        self.relu3 = activation(block.activation)
        self.downsample = projection(block, norm_layer)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.downsample(x)
        x = self.relu1(self.dropblock1(self.bn1(self.conv1(x))))
        x = self.pool_after(self.dropblock2(self.conv2(self.pool_before(x))))
        x = self.drop_path(self.dropblock3(self.bn3(self.conv3(x))))
        return self.relu3(x.add_(shortcut))


def projection(block: BlockSpec, norm_layer: NormLayer = BatchNorm) -> nn.Module:
    """The block's shortcut: pooling, convolution and norm, or Identity."""
    if block.projection is None:
        return nn.Identity()
    layers = [conv2d(block.projection), norm_layer(block.projection.out_channels)]
    if block.projection_pool is not None:
        layers.insert(0, avg_pool2d(block.projection_pool))
    return nn.Sequential(*layers)


class ResNeSt(Contract, nn.Module, SavedModel):
    """A ResNeSt classifier (paper, table 1 and section 5): (N, in_channels, H, W) -> logits (N, num_classes).

    `norm_layer` builds a norm from a number of channels. `final_drop` is the dropout before
    the classifier; `dropblock_prob` drops squares of pixels in stages 3 and 4, at the `dropblock_place` and with
    the `dropblock_mask` that `resnest.specs.recipe.DropBlockRecipe` has; `drop_path_prob` leaves the last block of
    all out, earlier ones less often; `last_gamma` starts the last norm of each block at zero, so that each block
    starts as its shortcut. It keeps timm's contract too: see `resnest.backends.contract`.
    """

    def __init__(
        self,
        spec: "ResNeStSpec",  # a name, or the hub would make one of whatever a config.json holds
        *,
        norm_layer: NormLayer = BatchNorm,
        final_drop: float = 0.0,
        dropblock_prob: float = 0.0,
        drop_path_prob: float = 0.0,
        last_gamma: bool = False,
        dropblock_place: str = "inside",
        dropblock_mask: str = "sample",
    ):
        super().__init__()
        self.spec = spec
        self.feature_channels = list(spec.feature_channels)
        self.feature_strides = list(spec.feature_strides)
        self.many_pixels = many_pixels(spec)
        drops = DropBlockRecipe(dropblock_prob, dropblock_place, dropblock_mask)
        norm_layer = norm_of(spec, norm_layer)
        self.conv1 = stem(spec, norm_layer)
        self.bn1 = norm_layer(spec.stem_channels)
        self.relu = activation(spec.activation)
        self.maxpool = max_pool2d(STEM_POOL)
        stages: list[list[nn.Module]] = [[] for _ in spec.stage_depths]
        for block in spec.blocks():
            options = drops.prob, drops.place, drops.mask, drop_path_prob
            stages[block.stage - 1].append(Bottleneck(block, norm_layer, *options))
        self.layer1, self.layer2, self.layer3, self.layer4 = (Stage(*blocks) for blocks in stages)
        self.avgpool = pooling(spec.global_pool)
        self.flatten = flatten(spec.global_pool)
        self.drop = nn.Dropout(final_drop)
        self.fc = classifier(spec.num_classes, spec.pooled_channels)
        self.spec = spec.renormed(**norm_numbers(self.bn1))  # a norm layer may bring its own
        self.last_gamma = last_gamma
        self.draw_weights()

    def init_weights(self, last_gamma: bool | None = None) -> None:
        """Draw all weights and statistics anew as the authors' code does, after `to_empty` too.

        Without `last_gamma` the last norms start as the network was built to.
        """
        self.last_gamma = self.last_gamma if last_gamma is None else last_gamma
        reset(self)
        self.draw_weights()

    def draw_weights(self) -> None:
        """Draw what the layers have drawn otherwise than the authors' code does."""
        self.apply(init_conv2d)
        if self.last_gamma:
            for name, scale in self.named_parameters():
                if name.endswith(".bn3.weight"):
                    nn.init.zeros_(scale)

    def forward_stem(self, x: Tensor) -> Tensor:
        return self.maxpool(self.relu(self.bn1(self.conv1(x))))

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The feature maps `[stem, stage 1, .. stage 4]`, each (N, C, H / stride, W / stride)."""
        stem = self.forward_stem(laid_out(x, self.many_pixels))
        stage1 = self.layer1(stem)
        stage2 = self.layer2(stage1)
        stage3 = self.layer3(stage2)
        return [lying_like(stage, x) for stage in (stem, stage1, stage2, stage3, self.layer4(stage3))]

    def forward_features(self, x: Tensor) -> Tensor:
        """The last feature map, (N, C, H / stride, W / stride)."""
        # Unlike in forward_stages, a feature map goes when the next stage has read it.
        stage2 = self.layer2(self.layer1(self.forward_stem(laid_out(x, self.many_pixels))))
        return lying_like(self.layer4(self.layer3(stage2)), x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """The logits, (N, num_classes), of the last feature map; `pre_logits` is what the classifier sees."""
        x = self.drop(self.flatten(self.avgpool(x)))
        return x if pre_logits else self.fc(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(laid_out(x, self.many_pixels)))

    def forward_intermediates(
        self,
        x: Tensor,
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
        images, x = x, self.relu(self.bn1(self.conv1(laid_out(x, self.many_pixels))))
        maps = {0: x}
        if not stop_early or max(wanted) > 0:
            x = self.maxpool(x)
        for index, stage in enumerate((self.layer1, self.layer2, self.layer3, self.layer4), 1):
            if not stop_early or index <= max(wanted):
                maps[index] = x = stage(x)
        taken = [lying_like(maps[index], images) for index in wanted]
        return taken if intermediates_only else (lying_like(x, images), taken)

    def prune_intermediate_layers(
        self, indices: int | Sequence[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Take out the stages behind the last of `indices`, and the head; gives the indices, from 0 to 4.

        Raises ValueError for an index that there is not.
        """
        wanted = take_indices(indices, self.last_stage)
        self.last_stage = max(wanted)
        for stage in range(self.last_stage + 1, 5):
            setattr(self, f"layer{stage}", nn.Identity().train(self.training))
        if self.last_stage == 0:
            self.maxpool = nn.Identity().train(self.training)
        if prune_head or self.last_stage < 4:
            self.reset_classifier(0, "")
        return wanted

    def deploy(self) -> "ResNeSt":
        """A new model that predicts the same without batch norms: see `resnest.torch.deploy`."""
        return deploy(self)

    def rebuilt(self, spec: ResNeStSpec) -> "ResNeSt":
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
        weight = next(self.parameters())
        self.avgpool, self.flatten = pooling(pool).train(self.training), flatten(pool).train(self.training)
        fc = classifier(num_classes, self.head_hidden_size).train(self.training)
        self.fc = fc.to(device=weight.device, dtype=weight.dtype)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Have training keep each block's input alone and compute the rest again: less memory, a third more time."""
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            if isinstance(stage, Stage):
                stage.grad_checkpointing = enable


class ResNeStFeatures(ResNeSt):
    """A ResNeSt backbone: (N, in_channels, H, W) -> the feature maps of `out_indices`, 0 the stem, 1 to 4 the stages.

    `feature_channels` and `feature_strides` tell their channels and strides. Stages past the
    last one asked for are not built.
    """

    def __init__(self, spec: "ResNeStSpec", *, out_indices: int | Sequence[int] = (1, 2, 3, 4), **options: Any):
        super().__init__(dataclasses.replace(spec, num_classes=0), **options)
        self.out_indices = check_out_indices(out_indices)
        self.feature_channels = [self.feature_channels[i] for i in self.out_indices]
        self.feature_strides = [self.feature_strides[i] for i in self.out_indices]
        self.last_stage = max(self.out_indices)
        for stage in range(self.last_stage + 1, 5):
            setattr(self, f"layer{stage}", nn.Identity())

    def forward(self, x: Tensor) -> list[Tensor]:
        stages = self.forward_stages(
            laid_out(x, self.many_pixels)
        )  # lying like that, none but those asked for is copied
        return [lying_like(stages[i], x) for i in self.out_indices]

    @property
    def feature_info(self) -> Any:
        """Channels, stride and module of each map that comes out."""
        return features(self.spec, self.out_indices)

    def rebuilt(self, spec: ResNeStSpec) -> "ResNeStFeatures":
        return self.from_spec(spec, out_indices=self.out_indices)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        raise TypeError("a backbone built with features_only=True has no classifier to reset")


def stem(spec: ResNeStSpec, norm_layer: NormLayer = BatchNorm) -> nn.Module:
    """The stem up to its last convolution, whose norm is the network's `bn1`."""
    *inner, last = spec.stem()
    if not inner:
        return conv2d(last.conv)
    layers: list[nn.Module] = []
    for layer in inner:
        layers += [conv2d(layer.conv), norm_layer(layer.conv.out_channels), activation(spec.activation)]
    return nn.Sequential(*layers, conv2d(last.conv))


def classifier(num_classes: int, channels: int) -> nn.Module:
    return nn.Linear(channels, num_classes) if num_classes else nn.Identity()
