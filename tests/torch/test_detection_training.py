"""What detectors learn from, against the same written out box by box, and that they learn."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import box_iou

from resnest.data.coco import crop_polygons
from resnest.specs.detection.anchors import Assigner, Sampler
from resnest.specs.detection.network import FAMILIES
from resnest.torch import Detector, load_weights
from resnest.torch.layers.regions import encode, grid
from resnest.torch.networks.detection import training
from resnest.weights.seeded import draw_weights, make_input
from tests.support.specs import tiny_detector

NO_BOXES = {"boxes": torch.zeros(0, 4).double(), "labels": torch.zeros(0, dtype=torch.long)}


def some_boxes(n, size=60.0, seed=0):
    random = torch.Generator().manual_seed(seed)
    corners = torch.rand(n, 2, 2, generator=random, dtype=torch.float64) * size
    return torch.cat([corners.amin(1), corners.amax(1) + 4], dim=1)


def assigned_one_by_one(boxes, truth, rule):
    met = box_iou(truth, boxes)
    assigned = []
    for column in met.T:
        best = int(column.argmax())
        number = best + 1 if column[best] >= rule.positive else -1
        assigned.append(0 if column[best] < rule.negative else number)
    if rule.low_quality:
        for number, row in enumerate(met, start=1):
            for box in range(len(boxes)):
                if row.max() >= rule.minimum and row[box] == row.max():
                    assigned[box] = number
    return assigned


@pytest.mark.parametrize("low_quality", [False, True])
@pytest.mark.parametrize("bounds", [(0.7, 0.3, 0.3), (0.5, 0.5, 0.5)])
def test_boxes_belong_to_the_true_box_that_they_meet_best(bounds, low_quality):
    rule = Assigner(*bounds, low_quality)
    truth = some_boxes(5, seed=1)
    boxes = torch.cat([some_boxes(80), truth + 1, truth + 1, torch.zeros(1, 4)])
    found = training.assign(boxes, truth, rule).tolist()
    assert found == assigned_one_by_one(boxes, truth, rule)
    assert {0, 5} <= set(found)


def test_without_true_boxes_all_is_background():
    rule = Assigner(0.5, 0.5, 0.5, True)
    assert training.assign(some_boxes(3), NO_BOXES["boxes"], rule).tolist() == [0, 0, 0]
    assert training.assign(NO_BOXES["boxes"], some_boxes(3), rule).shape == (0,)


def test_a_sample_has_its_share_of_objects_and_background_fills_it_up():
    assigned = torch.tensor([1] * 30 + [0] * 50 + [-1] * 20)[torch.randperm(100)]
    positives, negatives = training.sample(assigned, Sampler(40, 0.25, False))
    assert (len(positives), len(negatives)) == (10, 30)
    assert (assigned[positives] == 1).all()
    assert (assigned[negatives] == 0).all()
    positives, negatives = training.sample(assigned, Sampler(100, 0.5, False))
    assert (len(positives), len(negatives)) == (30, 50)
    many = {tuple(training.choose(torch.arange(9), 3).tolist()) for _ in range(50)}
    assert len(many) > 5


def test_true_boxes_are_among_what_a_box_head_learns_from():
    truth = {"boxes": some_boxes(2, seed=1), "labels": torch.tensor([4, 2])}
    rule, sampler = Assigner(0.5, 0.5, 0.5, False), Sampler(20, 0.25, True)
    found = training.sample_regions(some_boxes(30), truth, rule, sampler, 5)
    assert torch.equal(found.boxes[:2], truth["boxes"])
    assert found.labels[: found.positives].tolist() == truth["labels"][found.matched].tolist()
    assert set(found.labels[found.positives :].tolist()) == {5}
    assert found.own[:2].tolist() == [True, True]
    assert not found.own[2:].any()


def build(family, **changes):
    model = Detector(tiny_detector(family, **changes))
    load_weights(model, draw_weights(model.spec))
    return model.double()


def batch(masks=False):
    x = torch.from_numpy(make_input((2, 3, 64, 96))).double()
    truths = []
    for seed, n in ((2, 3), (3, 2)):
        truth = {"boxes": some_boxes(n, 50, seed), "labels": torch.arange(n)}
        if masks:
            truth["masks"] = torch.zeros(n, 64, 96, dtype=torch.bool)
            for mask, (x1, y1, x2, y2) in zip(truth["masks"], truth["boxes"].round().int().tolist(), strict=True):
                mask[y1:y2, x1 : (x1 + x2) // 2] = True
        truths.append(truth)
    return x, truths


def first(members, number):
    return members[:number]


@pytest.mark.parametrize("family", ["faster_rcnn", "cascade_rcnn"])
def test_the_rpns_losses_are_those_of_its_sample_written_out(monkeypatch, family):
    monkeypatch.setattr(training, "choose", first)
    model = build(family)
    x, truths = batch()
    sizes = torch.tensor([[64, 96], [40, 60]])
    logits, deltas = model.rpn_head(model.forward_pyramid(x))
    classes = boxes_off = number = 0
    for image, (truth, (height, width)) in enumerate(zip(truths, [(64, 96), (64, 64)], strict=True)):
        anchors, scores, moved = [], [], []
        for level, stride in enumerate(model.spec.anchors.strides):
            all_anchors = grid(model.spec.anchors, level, logits[level])
            all_anchors = all_anchors.reshape(*logits[level].shape[2:], 3, 4)
            for row in range(min(-(-height // stride), len(all_anchors))):
                for column in range(min(-(-width // stride), all_anchors.shape[1])):
                    for ratio in range(3):
                        anchor = all_anchors[row, column, ratio]
                        h, w = sizes[image].tolist()
                        inside = (anchor[:2] >= 0).all() and anchor[2] < w and anchor[3] < h
                        if inside or family == "faster_rcnn":
                            anchors.append(anchor)
                            scores.append(logits[level][image, ratio, row, column])
                            moved.append(deltas[level][image, 4 * ratio : 4 * ratio + 4, row, column])
        anchors = torch.stack(anchors)
        assigned = training.assign(anchors, truth["boxes"], model.spec.rpn_assigner)
        objects, background = (assigned > 0).nonzero()[:128, 0], (assigned == 0).nonzero()[:, 0]
        background = background[: 256 - len(objects)]
        for places, sign in ((objects, -1), (background, 1)):
            classes = classes + sum(F.softplus(sign * scores[place]) for place in places)
        for place in objects:
            off = (moved[place] - encode(anchors[place], truth["boxes"][assigned[place] - 1], (1, 1, 1, 1))).abs()
            beta = model.spec.rpn_beta
            boxes_off = (
                boxes_off + (torch.where(off < beta, off**2 / (2 * beta), off - beta / 2) if beta else off).sum()
            )
        number += max(len(objects), 1) + max(len(background), 1)
    found = training.rpn_losses(model.spec, logits, deltas, sizes, truths)
    assert found["loss_rpn_cls"].item() == pytest.approx((classes / number).item(), rel=1e-8)
    assert found["loss_rpn_bbox"].item() == pytest.approx((boxes_off / number).item(), rel=1e-8)


def test_an_image_without_objects_counts_as_one_with_one():
    """As in mmdetection, which divides what the RPN loses by that."""
    spec = tiny_detector()
    sides = [(64 // stride, 96 // stride or 1) for stride in spec.anchors.strides]
    logits = [torch.zeros(2, 3, *side).double() for side in sides]
    deltas = [torch.zeros(2, 12, *side).double() for side in sides]
    losses = training.rpn_losses(spec, logits, deltas, torch.tensor([[64, 96]] * 2), [NO_BOXES] * 2)
    assert losses["loss_rpn_cls"].item() == pytest.approx(np.log(2) * 256 / 257, rel=1e-8)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stages_losses_are_those_of_its_sample_written_out(family):
    spec = tiny_detector(family)
    stage = spec.stages[-1]
    boxes, real = some_boxes(6), some_boxes(2, seed=1)
    one = training.Sample(boxes, torch.tensor([3, 1, 5, 5, 5, 5]), torch.tensor([1, 0]), torch.tensor([False, False]))
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 6, generator=random, dtype=torch.float64)
    deltas = torch.randn(6, 1 if spec.is_cascade else 5, 4, generator=random, dtype=torch.float64)
    found = training.box_losses(spec, stage, logits, deltas, [one], [{"boxes": real}])
    logarithms = logits.log_softmax(1)
    classes = -sum(logarithms[n, label] for n, label in enumerate([3, 1, 5, 5, 5, 5])) / 6
    off = [
        (deltas[n, 0 if spec.is_cascade else label] - encode(boxes[n], real[true], stage.stds)).abs()
        for n, label, true in ((0, 3, 1), (1, 1, 0))
    ]
    off = torch.cat(off)
    total = torch.where(off < 1, off**2 / 2, off - 0.5).sum() if spec.is_cascade else off.sum()
    assert found["loss_cls"].item() == pytest.approx(classes.item(), rel=1e-6)
    assert found["loss_bbox"].item() == pytest.approx(total.item() / 6, rel=1e-6)


def test_masks_are_cut_out_by_their_boxes_from_bitmaps_and_polygons():
    boxes = torch.tensor([[10.0, 10, 38, 38], [0, 0, 56, 56]]).double()
    one = training.Sample(boxes, torch.tensor([0, 0]), torch.tensor([0, 0]), torch.tensor([False, False]))
    bitmap = torch.zeros(1, 64, 64, dtype=torch.bool)
    bitmap[0, 10:24, 10:38] = True
    polygons = [[[10, 10, 38, 10, 38, 24, 10, 24]]]
    like = torch.zeros(1, 1, 28, 28).double()
    for masks in (bitmap, polygons):
        near, far = training.mask_targets(one, {"masks": masks}, like)
        assert torch.equal(near, F.pad(torch.ones(14, 28), (0, 0, 0, 14)).double())
        assert far[5:12, 5:19].all()
        assert far.sum() == 7 * 14
    half = crop_polygons([[0, 0, 4, 0, 4, 8, 0, 8], [4, 0, 8, 0, 8, 4, 4, 4]], [0, 0, 8, 8], 4)
    assert np.array_equal(half, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_loss_has_its_name_and_reaches_every_weight_that_learns(family):
    model = build(family).train()
    x, truths = batch(masks="mask" in family)
    losses = model(x, None, truths)
    kinds = ["loss_cls", "loss_bbox", *(["loss_mask"] if model.spec.has_masks else [])]
    stages = [f"s{n}." for n in range(3)] if model.spec.is_cascade else [""]
    assert set(losses) == {"loss_rpn_cls", "loss_rpn_bbox"} | {stage + kind for stage in stages for kind in kinds}
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    frozen = {name for name, p in model.named_parameters() if p.grad is None}
    assert {".".join(name.split(".")[:2]) for name in frozen} == {"backbone.conv1", "backbone.bn1", "backbone.layer1"}
    assert not model.backbone.layer1.training
    assert model.backbone.layer2.training


@pytest.mark.parametrize("family", ["mask_rcnn", "cascade_mask_rcnn"])
def test_images_without_objects_are_learnt_from_too(family):
    model = build(family).train()
    x, _ = batch()
    empty = NO_BOXES | {"masks": torch.zeros(0, 64, 96, dtype=torch.bool)}
    losses = model(x, None, [empty, empty])
    assert all(loss.isfinite() for loss in losses.values())
    assert not losses["loss_rpn_bbox"].item()
    assert losses["loss_rpn_cls"].item() > 0
    sum(losses.values()).backward()


@pytest.mark.parametrize(
    ("truths", "message"),
    [
        (None, r"needs the truth of each of the 2 images, and was given none: call model.eval\(\)"),
        ([NO_BOXES], "and was given that of 1"),
        ([NO_BOXES, {"boxes": torch.ones(1, 4), "labels": torch.zeros(1)}], "image 1 has a box without area"),
        (
            [{"boxes": torch.arange(4.0)[None], "labels": torch.tensor([5])}, NO_BOXES],
            "image 0 has a label outside 0 to 4",
        ),
        ([NO_BOXES, {"boxes": torch.zeros(2, 4), "labels": torch.zeros(1)}], r"image 1 has boxes \(2, 4\) and labels"),
    ],
)
def test_truth_that_nothing_is_learnt_from_is_named(truths, message):
    with pytest.raises(ValueError, match=message):
        build("faster_rcnn").train()(batch()[0], None, truths)


def test_a_family_with_masks_asks_for_them():
    x, truths = batch()
    with pytest.raises(ValueError, match="image 0 has 3 boxes and 0 masks"):
        build("mask_rcnn").train()(x, None, truths)
