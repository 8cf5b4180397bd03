"""Detectors on ResNeSt in MXNet Gluon: what their heads say of the regions that they propose."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from resnest.backends.choose import arrays_of
from resnest.data.detection import prepare
from resnest.gluon._mxnet import mx
from resnest.gluon.deploy import deploy
from resnest.gluon.layers.basic import BatchNorm, NormLayer, norm_of, sequential
from resnest.gluon.layers.regions import align, decode, joined, paste, suppress
from resnest.gluon.networks.detection.heads import BoxHead, MaskHead, Neck, RPNHead
from resnest.gluon.networks.resnest import ResNeStFeatures
from resnest.gluon.weights import OnContexts, SavedModel, filled
from resnest.specs.detection.heads import BOX_SIZE, MASK_SIZE
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.detection.published import get_detection_spec

Detections = dict[str, np.ndarray]
"""What is found in an image: `boxes` (n, 4), `scores` (n,), `labels` (n,) from 0, and of some networks `masks`."""


class RoIHead(mx.gluon.Block):
    """The box heads and mask heads of all stages."""

    def __init__(self, spec: DetectionSpec, norm_layer: NormLayer = BatchNorm, **kwargs: Any):
        super().__init__(**kwargs)
        self.spec = spec
        self.box_strides = spec.backbone.feature_strides[1:]
        with self.name_scope():
            boxes = [BoxHead(spec.box_head, norm_layer) for _ in spec.stages]
            self.bbox_head = sequential(boxes) if spec.is_cascade else boxes[0]
            if spec.mask_head is not None:
                masks = [MaskHead(spec.mask_head, norm_layer) for _ in spec.stages]
                self.mask_head = sequential(masks) if spec.is_cascade else masks[0]

    @property
    def box_heads(self) -> list[Any]:
        """The box head of each stage."""
        return [*self.bbox_head] if self.spec.is_cascade else [self.bbox_head]

    @property
    def mask_heads(self) -> list[Any]:
        """The mask head of each stage."""
        return [*self.mask_head] if self.spec.is_cascade else [self.mask_head]

    def see(self, head: Any, maps: Sequence[Any], regions: np.ndarray, size: int) -> Any:
        """What `head` says of the `regions` (K, 5), one or more."""
        return head(align(maps[: len(self.box_strides)], regions, self.box_strides, size))

    def refine(self, maps: Sequence[Any], regions: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Class probabilities (K, classes + 1) of the regions (K, 5), and their boxes (K, classes or 1, 4).

        Each stage of a cascade starts from the boxes of the one before; the mean of their logits counts.
        """
        classes = self.spec.num_classes
        if not len(regions):
            boxes = np.zeros((0, 1 if self.spec.box_head.agnostic else classes, 4), regions.dtype)
            return np.zeros((0, classes + 1), regions.dtype), boxes
        sizes = sizes[regions[:, 0].astype(np.int64)]
        total: Any = 0.0
        for stage, head in zip(self.spec.stages, self.box_heads):
            logits, deltas = self.see(head, maps, regions, BOX_SIZE)
            total = total + logits
            boxes = decode(regions[:, None, 1:], deltas.asnumpy(), stage.stds, sizes[:, None])
            regions = np.concatenate([regions[:, :1], boxes[:, 0]], axis=1)  # a cascade has one box for all classes
        return mx.nd.softmax(total / len(self.spec.stages), axis=-1).asnumpy(), boxes

    def select(self, boxes: np.ndarray, scores: np.ndarray) -> Detections:
        """The best of one image's boxes (K, classes or 1, 4), no two of a class over each other."""
        scores = scores[:, :-1]
        region, label = (scores > self.spec.score_threshold).nonzero()
        boxes = np.broadcast_to(boxes, (*scores.shape, 4))[region, label]
        scores = scores[region, label]
        kept = suppress(boxes, scores, label, self.spec.nms_iou)[: self.spec.max_detections]
        return {"boxes": boxes[kept], "scores": scores[kept], "labels": label[kept]}

    def masks(self, maps: Sequence[Any], found: Sequence[Detections]) -> list[np.ndarray]:
        """Of each image the masks (n, 28, 28) of its detections, as probabilities: the mean of all stages."""
        regions = joined([image["boxes"] for image in found])
        labels = np.concatenate([image["labels"] for image in found])
        side = 2 * MASK_SIZE
        mean = np.zeros((0, side, side), regions.dtype)
        if len(regions):
            each = np.arange(len(labels))
            seen = [self.see(head, maps, regions, MASK_SIZE).sigmoid() for head in self.mask_heads]
            mean = np.mean([masks.asnumpy()[each, labels] for masks in seen], axis=0)
        return np.split(mean, np.cumsum([len(image["labels"]) for image in found])[:-1])


class Detector(OnContexts, mx.gluon.Block, SavedModel):
    """A detector: normalised images (N, in_channels, H, W) -> of each what is found in it, as NumPy arrays.

    That is a dict of `boxes` (n, 4), x1 y1 x2 y2 in pixels, `scores` (n,), best first, `labels` (n,), from 0, and of
    a family with masks `masks` (n, H, W), true where the object is. `norm_layer` builds a norm from
    `in_channels`. It is not trained here: ValueError in training mode.
    """

    SPEC = DetectionSpec

    def __init__(self, spec: DetectionSpec, *, norm_layer: NormLayer = BatchNorm, **kwargs: Any):
        super().__init__(**kwargs)
        with self.name_scope():
            self.backbone = ResNeStFeatures(spec.backbone, norm_layer=norm_layer)
            self.spec = spec = dataclasses.replace(spec, backbone=self.backbone.spec)
            norm_layer = norm_of(spec.backbone, norm_layer)
            self.neck = Neck(spec.neck)
            self.rpn_head = RPNHead(spec)
            self.roi_head = RoIHead(spec, norm_layer)

    def forward_stages(self, x: Any) -> list[Any]:
        """The backbone's feature maps `[stem, stage 1, .. stage 4]`, each (N, C, H / stride, W / stride)."""
        return self.backbone.forward_stages(x)

    def forward_pyramid(self, x: Any) -> list[Any]:
        """The pyramid's maps, at strides 4, 8, 16, 32 and 64."""
        return self.neck(self.backbone(x))

    def forward(self, x: Any, sizes: Sequence[Sequence[int]] | None = None) -> list[Detections]:
        """What is found in each image of a batch; `sizes` are their heights and widths without padding.

        Raises ValueError where `sizes` are not the batch's, and for an image of which the network makes
        numbers that are not finite.
        """
        if mx.autograd.is_training():
            raise ValueError(f"{self.spec.name} is a detector, and those are trained in PyTorch: resnest.torch")
        shape = checked_sizes(x, sizes)
        return self.detect(self.forward_pyramid(x), shape)

    def detect(
        self,
        maps: Sequence[Any],
        sizes: np.ndarray,
        scales: np.ndarray | None = None,
        frames: Sequence[Sequence[int]] | None = None,
    ) -> list[Detections]:
        """What is found in the images of a pyramid's `maps`, which are of `sizes` (N, 2).

        With `scales` (N, 2), by how much a photo's width and height were multiplied to get there, boxes are
        the photo's, and masks are of the `frames`, the photos' own heights and widths.
        """
        logits, deltas = self.rpn_head(maps)
        check_finite(logits)
        proposals = self.rpn_head.propose(logits, deltas, sizes, self.spec.proposals)
        regions = joined([boxes for boxes, _ in proposals])
        scores, boxes = self.roi_head.refine(maps, regions, sizes)
        ends = np.cumsum([len(boxes) for boxes, _ in proposals])[:-1]
        scales = np.ones(sizes.shape) if scales is None else scales
        factors = np.concatenate([scales, scales], axis=1)
        images = list(zip(np.split(boxes, ends), np.split(scores, ends)))
        if not self.spec.has_masks:
            # mmdetection suppresses a box detector's boxes in the photo's pixels, and one's with masks before.
            shrink = (1 / factors).astype(boxes.dtype)
            return [self.roi_head.select(box * factor, score) for (box, score), factor in zip(images, shrink)]
        found = [self.roi_head.select(box, score) for box, score in images]
        masks = self.roi_head.masks(maps, found)
        for image, mask, factor, frame in zip(found, masks, factors, sizes.tolist() if frames is None else frames):
            image["boxes"] = image["boxes"] / factor.astype(mask.dtype)
            image["masks"] = paste(mask, image["boxes"], frame, self.spec.mask_threshold)
        return found

    def predict(self, photos: Sequence[Any]) -> list[Detections]:
        """What is found in photos, PIL images or arrays (H, W, 3) of RGB in 0 to 255, in each photo's own pixels.

        They are resized, normalised and padded as the spec says, and go through the network as one batch. Raises
        ValueError for what is no photo.
        """
        like = self.rpn_head.rpn_conv.weight
        batch = prepare(photos, self.spec)
        images = mx.nd.array(batch.images, ctx=like.list_ctx()[0], dtype=like.dtype)
        with mx.autograd.pause(train_mode=False):
            return self.detect(self.forward_pyramid(images), batch.sizes, batch.scales, batch.frames)

    def deploy(self) -> Detector:
        """A new model that predicts the same without batch norms: see `resnest.gluon.deploy`."""
        return deploy(self)

    def rebuilt(self, spec: DetectionSpec) -> Detector:
        """A network of the same kind for another `spec`, freshly drawn and without norms of its own."""
        return self.from_spec(spec)


def checked_sizes(x: Any, sizes: Sequence[Sequence[int]] | None) -> np.ndarray:
    """The images' `sizes` (N, 2) as an array; ValueError where they are not those of the batch x, (N, C, H, W)."""
    whole = np.tile(x.shape[2:], (len(x), 1))
    if sizes is None:
        return whole
    given = np.asarray(sizes)
    if given.shape != whole.shape or (given < 1).any() or (given > whole).any():
        raise ValueError(
            f"sizes={given.tolist()} must be the height and width, without padding, of each of {len(x)} images of"
            f" {x.shape[2]}x{x.shape[3]} pixels"
        )
    return given


def check_finite(logits: Sequence[Any]) -> None:
    """Raise ValueError, saying which, for an image whose `logits`, (N, anchors, H, W) of each map, are not finite."""
    finite = np.all([np.isfinite(x.asnumpy()).all(axis=(1, 2, 3)) for x in logits], axis=0)
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
    ctx: Any = None,
    **changes: Any,
) -> Detector:
    """The detector called `name`, on the context or contexts `ctx`, freshly drawn or with `weights`.

    `weights` are canonical arrays or a weight file, in mmdetection's names, `which` of its networks as in
    `resnest.weights.load`. `changes` are fields of `resnest.DetectionSpec` and `norm_layer`.

    Raises ValueError for an unknown name, for values that make no network and for weights that
    are not its own, and TypeError for an unknown word.
    """
    options = {word: changes.pop(word) for word in ("norm_layer",) if word in changes}
    spec = get_detection_spec(name, **changes)
    arrays = arrays_of(weights, which)
    model: Detector = filled(partial(Detector, spec, **options), arrays, ctx=ctx, copy=arrays is weights)
    return model
