"""What detectors learn from: boxes assigned to true ones, a sample of them, and the losses of what heads say of it.

The rules are in `resnest.specs.detection`, the names of the losses mmdetection's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from resnest.data.coco import crop_polygons
from resnest.specs.detection.anchors import UNIT_STDS, Assigner, Sampler, Stage
from resnest.specs.detection.heads import BOX_SIZE, MASK_SIZE
from resnest.specs.detection.network import PAD, DetectionSpec
from resnest.torch.layers.regions import decode, encode, grid, joined, operators
from resnest.torch.networks.detection.heads import of_anchors

Truth = Mapping[str, Any]
"""What is in an image: `boxes` (g, 4), x1 y1 x2 y2 in its pixels, `labels` (g,) from 0, and for a family with masks
`masks`: (g, H, W), true where the object is, or of each object its polygons (x y x y ...)."""

Losses = dict[str, Tensor]

EPS = float(np.finfo(np.float32).eps)
"""mmdetection adds this to the number that it divides a sum of losses by."""

SMALLEST_UNION = 1e-6
"""In pixels, so that boxes without area meet nothing."""


class Sample(NamedTuple):
    """The boxes (k, 4) of an image that are learnt from, `positives` objects first.

    `labels` (k,) are the objects' classes and the number of classes for background; `matched` are the numbers of the
    objects' true boxes, and `own` is true for an object that is a true box itself.
    """

    boxes: Tensor
    labels: Tensor
    matched: Tensor
    own: Tensor

    @property
    def positives(self) -> int:
        return len(self.matched)


def overlaps(truth: Tensor, boxes: Tensor) -> Tensor:
    """Intersection over union (g, n) of boxes (g, 4) and (n, 4)."""
    corners = torch.maximum(truth[:, None, :2], boxes[:, :2]), torch.minimum(truth[:, None, 2:], boxes[:, 2:])
    common = (corners[1] - corners[0]).clamp(min=0).prod(dim=2)
    areas = [(some[:, 2:] - some[:, :2]).prod(dim=1) for some in (truth, boxes)]
    return common / (areas[0][:, None] + areas[1] - common).clamp(min=SMALLEST_UNION)


def assign(boxes: Tensor, truth: Tensor, rule: Assigner) -> Tensor:
    """Of each box (n, 4) the number of the true box that it belongs to, from 1; 0 is background, -1 counts nowhere."""
    assigned = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    if not len(truth) or not len(boxes):
        return assigned
    met = overlaps(truth, boxes)
    best, number = met.max(dim=0)
    assigned[best >= rule.negative] = -1
    assigned = torch.where(best >= rule.positive, number + 1, assigned)
    if rule.low_quality:
        most = met.max(dim=1, keepdim=True).values
        alike = (met == most) & (most >= rule.minimum)
        numbers = torch.arange(1, len(truth) + 1, device=boxes.device)[:, None]
        last = (alike * numbers).max(dim=0).values  # of several true boxes the last one has it
        assigned = torch.where(last > 0, last, assigned)
    return assigned


def sample(assigned: Tensor, rule: Sampler) -> tuple[Tensor, Tensor]:
    """Which boxes are learnt from: the objects' and the background's places, each in ascending order."""
    positives = choose((assigned > 0).nonzero().squeeze(1), int(rule.number * rule.positives))
    negatives = choose((assigned == 0).nonzero().squeeze(1), rule.number - len(positives))
    return positives, negatives


def choose(members: Tensor, number: int) -> Tensor:
    """At most `number` of the members, drawn at random, in ascending order."""
    if len(members) <= number:
        return members
    return members[torch.randperm(len(members), device=members.device)[:number]].sort().values


def sample_regions(boxes: Tensor, truth: Truth, rule: Assigner, sampler: Sampler, num_classes: int) -> Sample:
    """What a box head learns from, of an image's proposals (n, 4)."""
    real = truth["boxes"]
    assigned = assign(boxes, real, rule)
    first = len(real) if sampler.adds_truth else 0
    if first:
        boxes = torch.cat([real, boxes])
        assigned = torch.cat([torch.arange(1, first + 1, device=boxes.device), assigned])
    positives, negatives = sample(assigned, sampler)
    matched = assigned[positives] - 1
    background = torch.full_like(negatives, num_classes)
    labels = torch.cat([truth["labels"][matched], background])
    return Sample(boxes[torch.cat([positives, negatives])], labels, matched, positives < first)


def rpn_losses(
    spec: DetectionSpec,
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    sizes: Tensor,
    truths: Sequence[Truth],
) -> Losses:
    """The losses of the RPN's logits and deltas of each map, for images of `sizes` (N, 2)."""
    scores = torch.cat([of_anchors(x, 1) for x in logits], dim=1).squeeze(2)  # (N, all anchors)
    moved = torch.cat([of_anchors(x, 4) for x in deltas], dim=1)
    boxes = torch.cat([grid(spec.anchors, level, x) for level, x in enumerate(logits)])
    number, seen, hit, wanted, told = 0, [], [], [], []
    for image, (size, truth) in enumerate(zip(sizes, truths)):
        usable = usable_anchors(spec, logits, boxes, size).nonzero().squeeze(1)
        assigned = assign(boxes[usable], truth["boxes"], spec.rpn_assigner)
        positives, negatives = sample(assigned, spec.rpn_sampler)
        chosen = usable[torch.cat([positives, negatives])]
        seen.append(scores[image, chosen])
        hit.append(torch.arange(len(chosen), device=chosen.device) < len(positives))
        objects = usable[positives]
        told.append(moved[image, objects])
        real = truth["boxes"][assigned[positives] - 1]
        wanted.append(encode(boxes[objects], real, UNIT_STDS))
        number += max(len(positives), 1) + max(len(negatives), 1)  # as mmdetection counts a sample
    score = torch.cat(seen)
    classes = F.binary_cross_entropy_with_logits(score, torch.cat(hit).to(score.dtype), reduction="sum")
    distance = F.smooth_l1_loss(torch.cat(told), torch.cat(wanted), beta=spec.rpn_beta, reduction="sum")
    return {"loss_rpn_cls": classes / (number + EPS), "loss_rpn_bbox": distance / (number + EPS)}


def usable_anchors(spec: DetectionSpec, maps: Sequence[Tensor], anchors: Tensor, size: Tensor) -> Tensor:
    """Which anchors an image of `size` (h, w) is learnt with: those that start in it, padded to whole strides, and,
    where the spec allows them no border, lie in it."""
    height, width = size.tolist()
    kept = []
    for x, stride in zip(maps, spec.anchors.strides):
        starts = torch.zeros(x.shape[2:], dtype=torch.bool, device=x.device)
        rows, columns = (-(-(-(-side // PAD) * PAD) // stride) for side in (height, width))
        starts[:rows, :columns] = True
        kept.append(starts.flatten().repeat_interleave(len(spec.anchors.ratios)))
    usable, border = torch.cat(kept), spec.allowed_border
    if border < 0:
        return usable
    x1, y1, x2, y2 = anchors.unbind(1)
    return usable & (x1 >= -border) & (y1 >= -border) & (x2 < width + border) & (y2 < height + border)


def region_losses(
    roi_head: Any, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Tensor, truths: Sequence[Truth]
) -> Losses:
    """The losses of all stages of a `RoIHead`, for the proposals (n, 4) of each image."""
    spec = roi_head.spec
    losses: Losses = {}
    for number, stage in enumerate(spec.stages):
        samples = [
            sample_regions(boxes, truth, stage.assigner, spec.box_sampler, spec.num_classes)
            for boxes, truth in zip(proposals, truths)
        ]
        regions = joined([one.boxes for one in samples])
        logits, deltas = roi_head.see(roi_head.box_heads[number], maps, regions, BOX_SIZE)
        found = box_losses(spec, stage, logits, deltas, samples, truths)
        if spec.has_masks:
            found["loss_mask"] = mask_loss(roi_head, number, maps, samples, truths)
        prefix = f"s{number}." if spec.is_cascade else ""
        losses |= {f"{prefix}{name}": loss * stage.weight for name, loss in found.items()}
        if number + 1 < len(spec.stages):
            limits = sizes[regions[:, 0].long()]
            refined = decode(regions[:, 1:], deltas[:, 0].detach(), stage.stds, limits)
            proposals = [
                boxes[~F.pad(one.own, (0, len(boxes) - one.positives))]  # true boxes are added anew
                for boxes, one in zip(refined.split([len(one.boxes) for one in samples]), samples)
            ]
    return losses


def box_losses(
    spec: DetectionSpec,
    stage: Stage,
    logits: Tensor,
    deltas: Tensor,
    samples: Sequence[Sample],
    truths: Sequence[Truth],
) -> Losses:
    """The losses of what a box head says of the samples of all images, one below the other."""
    labels = torch.cat([one.labels for one in samples])
    if not len(labels):
        return {"loss_cls": logits.sum() * 0, "loss_bbox": deltas.sum() * 0}
    objects = (labels < spec.num_classes).nonzero().squeeze(1)
    boxes = torch.cat([one.boxes[: one.positives] for one in samples])
    real = torch.cat([truth["boxes"][one.matched] for one, truth in zip(samples, truths)])
    of_class = torch.zeros_like(objects) if spec.box_head.agnostic else labels[objects]
    distance = F.smooth_l1_loss(
        deltas[objects, of_class], encode(boxes, real, stage.stds), beta=spec.box_beta, reduction="sum"
    )
    classes = F.cross_entropy(logits, labels, reduction="sum")
    return {"loss_cls": classes / (len(labels) + EPS), "loss_bbox": distance / (len(labels) + EPS)}


def mask_loss(
    roi_head: Any, number: int, maps: Sequence[Tensor], samples: Sequence[Sample], truths: Sequence[Truth]
) -> Tensor:
    """The loss of what mask head `number` says of the objects among the samples."""
    regions = joined([one.boxes[: one.positives] for one in samples])
    logits = roi_head.see(roi_head.mask_heads[number], maps, regions, MASK_SIZE)
    if not len(regions):
        return logits.sum()
    labels = torch.cat([one.labels[: one.positives] for one in samples])
    wanted = torch.cat([mask_targets(one, truth, logits) for one, truth in zip(samples, truths)])
    seen = logits[torch.arange(len(labels), device=labels.device), labels]
    return F.binary_cross_entropy_with_logits(seen, wanted)


def mask_targets(one: Sample, truth: Truth, like: Tensor) -> Tensor:
    """The true masks, cut out by the boxes of an image's objects: (positives, S, S) of 0 and 1, S as in `like`."""
    boxes, size = one.boxes[: one.positives], like.shape[-1]
    masks = truth["masks"]
    if isinstance(masks, Tensor):
        regions = torch.cat([one.matched[:, None].to(boxes.dtype), boxes], dim=1)
        cut = operators().roi_align(masks[:, None].to(boxes.dtype), regions, size, 1.0, 0, aligned=True)
        return (cut.squeeze(1) >= 0.5).to(like.dtype)
    cut = [crop_polygons(masks[n], box, size) for n, box in zip(one.matched.tolist(), boxes.tolist())]
    return torch.from_numpy(np.array(cut).reshape(-1, size, size)).to(like)


def checked_truths(spec: DetectionSpec, x: Tensor, truths: Sequence[Truth] | None) -> Sequence[Truth]:
    """What is in each image of x; ValueError, naming the image, for what no detector of this `spec` learns from."""
    if truths is None or len(truths) != len(x):
        given = "none" if truths is None else f"that of {len(truths)}"
        raise ValueError(
            f"in training a detector needs the truth of each of the {len(x)} images, and was given {given}: call"
            " model.eval() to have it detect"
        )
    for number, truth in enumerate(truths):
        boxes, labels = truth["boxes"], truth["labels"]
        if boxes.shape != (len(labels), 4):
            raise ValueError(f"image {number} has boxes {tuple(boxes.shape)} and labels {tuple(labels.shape)}")
        if not ((boxes[:, 2:] - boxes[:, :2]) > 0).all():
            raise ValueError(f"image {number} has a box without area, x1 y1 x2 y2: leave it out")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < spec.num_classes:
            raise ValueError(f"image {number} has a label outside 0 to {spec.num_classes - 1}")
        if spec.has_masks and len(truth.get("masks", ())) != len(labels):
            raise ValueError(f"image {number} has {len(labels)} boxes and {len(truth.get('masks', ()))} masks")
    return truths
