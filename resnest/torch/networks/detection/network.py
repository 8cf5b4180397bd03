"""Detectors on ResNeSt in PyTorch: what their heads say of the regions that they propose."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnest.backends.choose import arrays_of
from resnest.data.detection import prepare
from resnest.specs.detection.heads import BOX_SIZE, MASK_SIZE
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.detection.published import get_detection_spec
from resnest.torch.deploy import deploy
from resnest.torch.layers.basic import BatchNorm, NormLayer, init_conv2d, laid_out, lying_like, norm_of, reset
from resnest.torch.layers.regions import align, decode, first, joined, operators, paste, suppress
from resnest.torch.networks.detection.heads import BoxHead, MaskHead, Neck, RPNHead, draw_uniform
from resnest.torch.networks.detection.training import Losses, Truth, checked_truths, region_losses, rpn_losses
from resnest.torch.networks.resnest import ResNeStFeatures
from resnest.torch.weights import SavedModel, filled

Detections = dict[str, Tensor]
"""What is found in an image: `boxes` (n, 4), `scores` (n,), `labels` (n,) from 0, and of some networks `masks`."""


class RoIHead(nn.Module):
    """The box heads and mask heads of all stages."""

    def __init__(self, spec: DetectionSpec, norm_layer: NormLayer = BatchNorm):
        super().__init__()
        self.spec = spec
        self.box_strides = spec.backbone.feature_strides[1:]
        boxes = [BoxHead(spec.box_head, norm_layer) for _ in spec.stages]
        self.bbox_head: Any = nn.ModuleList(boxes) if spec.is_cascade else boxes[0]
        if spec.mask_head is not None:
            masks = [MaskHead(spec.mask_head, norm_layer) for _ in spec.stages]
            self.mask_head: Any = nn.ModuleList(masks) if spec.is_cascade else masks[0]

    @property
    def box_heads(self) -> list[Any]:
        """The box head of each stage."""
        return [*self.bbox_head] if self.spec.is_cascade else [self.bbox_head]

    @property
    def mask_heads(self) -> list[Any]:
        """The mask head of each stage."""
        return [*self.mask_head] if self.spec.is_cascade else [self.mask_head]

    def see(self, head: Any, maps: Sequence[Tensor], regions: Tensor, size: int) -> Any:
        """What `head` says of the `regions` (K, 5)."""
        cut = align(maps[: len(self.box_strides)], regions, self.box_strides, size)
        return head(laid_out(cut, many=1))  # so wide a convolution is faster channels last from one region on

    def refine(self, maps: Sequence[Tensor], regions: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Class probabilities (K, classes + 1) of the regions (K, 5), and their boxes (K, classes or 1, 4).

        Each stage of a cascade starts from the boxes of the one before; the mean of their logits counts.
        """
        sizes = sizes[regions[:, 0].long()]
        total: Any = 0.0
        for stage, head in zip(self.spec.stages, self.box_heads):
            logits, deltas = self.see(head, maps, regions, BOX_SIZE)
            total = total + logits
            boxes = decode(regions[:, None, 1:], deltas, stage.stds, sizes[:, None])
            regions = torch.cat([regions[:, :1], boxes[:, 0]], dim=1)  # a cascade has one box for all classes
        return (total / len(self.spec.stages)).softmax(dim=-1), boxes

    def select(self, boxes: Tensor, scores: Tensor) -> Detections:
        """The best of one image's boxes (K, classes or 1, 4), no two of a class over each other."""
        scores = scores[:, :-1]
        region, label = (scores > self.spec.score_threshold).nonzero(as_tuple=True)
        boxes = boxes.expand(-1, scores.shape[1], -1)[region, label]
        scores = scores[region, label]
        kept = first(suppress(boxes, scores, label, self.spec.nms_iou), self.spec.max_detections)
        return {"boxes": boxes[kept], "scores": scores[kept], "labels": label[kept]}

    def masks(self, maps: Sequence[Tensor], found: Sequence[Detections]) -> list[Tensor]:
        """Of each image the masks (n, 28, 28) of its detections, as probabilities: the mean of all stages."""
        regions = joined([image["boxes"] for image in found])
        labels = torch.cat([image["labels"] for image in found])
        each = torch.arange(labels.shape[0], device=labels.device)
        seen = [self.see(head, maps, regions, MASK_SIZE)[each, labels].sigmoid() for head in self.mask_heads]
        mean = torch.stack(seen).mean(dim=0)
        if len(found) == 1:  # what is being exported does not know how many they are
            return [mean]
        return list(mean.split([len(image["labels"]) for image in found]))


class Detector(nn.Module, SavedModel):
    """A detector: normalised images (N, in_channels, H, W) -> of each what is found in it.

    That is a dict of `boxes` (n, 4), x1 y1 x2 y2 in pixels, `scores` (n,), best first, `labels` (n,), from 0, and of
    a family with masks `masks` (n, H, W), true where the object is. `norm_layer` builds a norm from a
    number of channels. In training mode it takes what is truly in the images, and gives losses. Raises ImportError
    without torchvision.
    """

    SPEC = DetectionSpec

    def __init__(self, spec: DetectionSpec, *, norm_layer: NormLayer = BatchNorm):
        super().__init__()
        operators()
        self.backbone = ResNeStFeatures(spec.backbone, norm_layer=norm_layer)
        self.spec = spec = dataclasses.replace(spec, backbone=self.backbone.spec)
        norm_layer = norm_of(spec.backbone, norm_layer)
        self.neck = Neck(spec.neck)
        self.rpn_head = RPNHead(spec)
        self.roi_head = RoIHead(spec, norm_layer)
        self.draw_weights()
        for part in self.frozen():
            part.requires_grad_(False)

    def frozen(self) -> list[nn.Module]:
        """The parts of the backbone that do not learn: the stem, and as many stages as the spec freezes."""
        stages = self.spec.frozen_stages
        parts = ["conv1", "bn1", *(f"layer{stage}" for stage in range(1, stages + 1))] if stages else []
        return [self.backbone.get_submodule(part) for part in parts]

    def train(self, mode: bool = True) -> Detector:
        """Go into training mode, but for what is frozen."""
        super().train(mode)
        for part in self.frozen():
            part.eval()
        return self

    def init_weights(self) -> None:
        """Draw all weights and statistics anew, after `to_empty` too."""
        reset(self)
        self.draw_weights()

    def draw_weights(self) -> None:
        """Draw what the layers have drawn otherwise than the authors' code and mmdetection do."""
        if next(self.parameters()).is_meta:  # nothing to draw, and PyTorch would load its compiler to find that out
            return
        self.apply(init_conv2d)
        for conv in (*self.neck.lateral_convs, *self.neck.fpn_convs):
            draw_uniform(conv.conv)
        for head in self.modules():
            if isinstance(head, RPNHead | BoxHead | MaskHead):
                head.draw_classifier()

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The backbone's feature maps `[stem, stage 1, .. stage 4]`, each (N, C, H / stride, W / stride)."""
        return self.backbone.forward_stages(x)

    def forward_pyramid(self, x: Tensor) -> list[Tensor]:
        """The pyramid's maps, at strides 4, 8, 16, 32 and 64."""
        return [lying_like(level, x) for level in self.neck(self.backbone(laid_out(x, self.backbone.many_pixels)))]

    def forward(
        self, x: Tensor, sizes: Sequence[Sequence[int]] | None = None, truths: Sequence[Truth] | None = None
    ) -> Any:
        """What is found in each image of a batch; `sizes` are their heights and widths without padding.

        In training mode, with what is truly in each image (`truths`, of `boxes`, `labels` and `masks`), the losses:
        a dict, whose sum is what training makes small. Raises ValueError where `sizes` or `truths` are not the
        batch's, and for an image of which the network makes numbers that are not finite.
        """
        shape = checked_sizes(x, sizes)
        if self.training:
            return self.losses(self.forward_pyramid(x), shape, checked_truths(self.spec, x, truths))
        return self.detect(self.forward_pyramid(laid_out(x, self.backbone.many_pixels)), shape)

    def losses(self, maps: Sequence[Tensor], sizes: Tensor, truths: Sequence[Truth]) -> Losses:
        """The losses of the RPN and of every stage, under mmdetection's names, each with its weight."""
        logits, deltas = self.rpn_head(maps)
        losses = rpn_losses(self.spec, logits, deltas, sizes, truths)
        with torch.no_grad():
            found = self.rpn_head.propose(logits, deltas, sizes, self.spec.train_proposals)
        return losses | region_losses(self.roi_head, maps, [boxes for boxes, _ in found], sizes, truths)

    def detect(
        self,
        maps: Sequence[Tensor],
        sizes: Tensor,
        scales: Tensor | None = None,
        frames: Sequence[Sequence[int]] | None = None,
    ) -> list[Detections]:
        """What is found in the images of a pyramid's `maps`, which are of `sizes` (N, 2).

        With `scales` (N, 2), by how much a photo's width and height were multiplied to get there, boxes are
        the photo's, and masks are of the `frames`, the photos' own heights and widths.
        """
        logits, deltas = self.rpn_head(maps)
        check_finite(logits)
        proposals = self.rpn_head.propose(logits, deltas, sizes, self.spec.proposals)
        maps = [x.contiguous() for x in maps]  # as torchvision's RoIAlign wants them
        regions = joined([boxes for boxes, _ in proposals])
        scores, boxes = self.roi_head.refine(maps, regions, sizes)
        counts = [len(boxes) for boxes, _ in proposals]
        scales = torch.ones_like(sizes, dtype=torch.float64) if scales is None else scales
        factors = torch.cat([scales, scales], dim=1)
        images = list(zip(boxes.split(counts), scores.split(counts)))
        if not self.spec.has_masks:
            # mmdetection suppresses a box detector's boxes in the photo's pixels, and one's with masks before.
            shrink = (1 / factors).to(boxes.dtype)
            return [self.roi_head.select(box * factor, score) for (box, score), factor in zip(images, shrink)]
        found = [self.roi_head.select(box, score) for box, score in images]
        masks = self.roi_head.masks(maps, found)
        for image, mask, factor, frame in zip(found, masks, factors, sizes.tolist() if frames is None else frames):
            image["boxes"] = image["boxes"] / factor.to(mask.dtype)
            image["masks"] = paste(mask, image["boxes"], frame, self.spec.mask_threshold)
        return found

    @torch.no_grad()
    def predict(self, photos: Sequence[Any]) -> list[Detections]:
        """What is found in photos, PIL images or arrays (H, W, 3) of RGB in 0 to 255, in each photo's own pixels.

        They are resized, normalised and padded as the spec says, and go through the network as one batch. Raises
        ValueError for what is no photo.
        """
        like = next(self.parameters())
        batch = prepare(photos, self.spec)
        images, sizes, scales = (torch.from_numpy(array).to(like.device) for array in batch[:3])
        modes = [(module, module.training) for module in self.modules()]
        try:
            self.eval()
            images = laid_out(images.to(like.dtype), self.backbone.many_pixels)
            return self.detect(self.forward_pyramid(images), sizes, scales, batch.frames)
        finally:
            for module, training in modes:
                module.training = training

    def deploy(self) -> Detector:
        """A new model that predicts the same without batch norms: see `resnest.torch.deploy`."""
        return deploy(self)

    def rebuilt(self, spec: DetectionSpec) -> Detector:
        """A network of the same kind for another `spec`, freshly drawn and without norms of its own."""
        return self.from_spec(spec)


def checked_sizes(x: Tensor, sizes: Sequence[Sequence[int]] | None) -> Tensor:
    """The images' `sizes` (N, 2) as a tensor beside x, (N, C, H, W); ValueError where they are not the batch's."""
    whole = x.new_tensor(x.shape[2:], dtype=torch.long).expand(len(x), 2)
    if sizes is None:
        return whole
    given = torch.as_tensor(sizes, dtype=torch.long, device=x.device)
    if given.shape != whole.shape or (given < 1).any() or (given > whole).any():
        raise ValueError(
            f"sizes={given.tolist()} must be the height and width, without padding, of each of {len(x)} images of"
            f" {x.shape[2]}x{x.shape[3]} pixels"
        )
    return given


def check_finite(logits: Sequence[Tensor]) -> None:
    """Raise ValueError, saying which, for an image whose `logits`, (N, anchors, H, W) of each map, are not finite."""
    finite = torch.stack([x.isfinite().flatten(1).all(dim=1) for x in logits]).all(dim=0)
    if not finite.all():
        number = finite.tolist().index(False)
        raise ValueError(
            f"image {number} of the batch gives numbers that are not finite: pixels of it are NaN or infinite,"
            " or the weights are"
        )


def create_detector(
    name: str,
    *,
    weights: Mapping[str, np.ndarray] | str | os.PathLike | None = None,
    which: str | None = None,
    **changes: Any,
) -> Detector:
    """The detector called `name`, with freshly drawn weights or with `weights`.

    `weights` are canonical arrays or a weight file, in mmdetection's names, `which` of its networks as in
    `resnest.weights.load`. `changes` are fields of `resnest.DetectionSpec` and `norm_layer`.

    Raises ValueError for an unknown name, for values that make no network and for weights that
    are not its own, and TypeError for an unknown word.
    """
    options = {word: changes.pop(word) for word in ("norm_layer",) if word in changes}
    spec = get_detection_spec(name, **changes)
    arrays = arrays_of(weights, which)
    model: Detector = filled(partial(Detector, spec, **options), arrays, copy=arrays is weights)
    return model
