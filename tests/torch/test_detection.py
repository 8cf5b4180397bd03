"""Detectors in PyTorch: mmdetection's proposals, boxes, scores and masks, and what a user may give them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from resnest import get_detection_spec
from resnest.data.detection import prepare
from resnest.specs.detection.network import FAMILIES
from resnest.torch import Detector, create_detector, load_weights
from resnest.torch.layers.regions import joined
from resnest.weights.seeded import draw_weights, make_input
from tests.support.arrays import relative
from tests.support.paths import FIXTURES
from tests.support.specs import tiny_detector


def golden_of(family):
    return np.load(FIXTURES / f"mmdet_{family}_resnest50_coco.npz")


def drawn(family, dtype):
    spec = get_detection_spec(f"{family}_resnest50_coco")
    return create_detector(spec.name, weights=draw_weights(spec)).to(dtype).eval()


@torch.no_grad()
def look(model, golden, dtype):
    """Maps, RPN outputs, proposals and detections of the image that a golden file is of."""
    shape = tuple(json.loads(str(golden["meta"]))["input_shape"])
    maps = model.forward_pyramid(torch.from_numpy(make_input(shape)).to(dtype))
    logits, deltas = model.rpn_head(maps)
    sizes = torch.tensor([shape[2:]])
    ((proposals, objectness),) = model.rpn_head.propose(logits, deltas, sizes, model.spec.proposals)
    scores, boxes = model.roi_head.refine(maps, joined([proposals]), sizes)
    return maps, (logits, deltas), (proposals, objectness), model.roi_head.select(boxes, scores)


def check(found, golden, bound):
    assert found["labels"].tolist() == golden["labels"].tolist()
    assert relative(found["boxes"].numpy(), golden["boxes"]) < bound
    assert relative(found["scores"].numpy(), golden["scores"]) < bound


def test_float64_is_mmdetections_from_the_pyramid_to_the_masks():
    """Mask R-CNN's boxes are Faster R-CNN's, and so is the golden file of that."""
    golden = golden_of("mask_rcnn")
    model = drawn("mask_rcnn", torch.float64)
    maps, rpn, (proposals, objectness), found = look(model, golden, torch.float64)
    for number, x in enumerate(maps):
        assert relative(x.mean((2, 3)).numpy(), golden[f"fpn{number}"]) < 1e-13
    for outputs, name in zip(rpn, ["rpn_cls", "rpn_reg"], strict=True):
        assert relative(np.array([x.mean().item() for x in outputs]), golden[name]) < 1e-13
    assert len(proposals) == golden["n_proposals"]
    assert relative(proposals[:100].numpy(), golden["proposals"]) < 1e-12
    assert relative(objectness[:100].numpy(), golden["objectness"]) < 1e-12
    check(found, golden, 1e-11)
    check(found, golden_of("faster_rcnn"), 1e-11)
    with torch.no_grad():
        first = joined([found["boxes"][:10]])
        logits = model.roi_head.see(model.roi_head.mask_head, maps, first, 14)
    assert relative(logits.mean((2, 3)).numpy(), golden["mask_logits"][0]) < 1e-11


def test_float32_gives_mmdetections_detections_in_their_order():
    golden = golden_of("cascade_rcnn")
    *_, found = look(drawn("cascade_rcnn", torch.float32), golden, torch.float32)
    check(found, golden, 1e-4)


def build(family, dtype=torch.float64, **changes):
    """A tiny detector that finds something: its classifier is as sharp as the recipe draws it."""
    model = Detector(tiny_detector(family, **changes))
    load_weights(model, draw_weights(model.spec))
    return model.to(dtype).eval()


def images(*shape, seed=0):
    return torch.from_numpy(make_input(shape, seed)).double()


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_what_is_found_in_a_batch(family):
    model = build(family)
    sizes = [(64, 96), (50, 60)]
    found = model(images(2, 3, 64, 96), sizes)
    for image, (height, width) in zip(found, sizes, strict=True):
        n = len(image["scores"])
        assert 0 < n <= 100
        assert image["boxes"].shape == (n, 4)
        assert image["boxes"].min() >= 0
        assert (image["boxes"] <= torch.tensor([width, height, width, height])).all()
        assert image["labels"].dtype == torch.int64
        assert set(image["labels"].tolist()) <= set(range(5))
        assert image["scores"].tolist() == sorted(image["scores"].tolist(), reverse=True)
        assert image["scores"].min() > 0.05
        assert set(image) == {"boxes", "scores", "labels"} | ({"masks"} if model.spec.has_masks else set())
        if model.spec.has_masks:
            assert image["masks"].shape == (n, height, width)
            assert image["masks"].dtype == torch.bool
            assert image["masks"].any()


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_an_image_is_seen_alike_alone_and_in_a_batch(family):
    model = build(family)
    x = images(2, 3, 64, 96)
    together = model(x)
    for number in range(2):
        (alone,) = model(x[number : number + 1])
        assert alone["labels"].tolist() == together[number]["labels"].tolist()
        assert torch.allclose(alone["boxes"], together[number]["boxes"], rtol=1e-10)


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_photos_come_back_in_their_own_pixels_in_mmdetections_order_of_steps():
    """A box detector's boxes are put back before its classes are suppressed, one's with masks after that."""
    photos = [photo(40, 30), photo(31, 70, seed=1)]
    for family in ("faster_rcnn", "cascade_mask_rcnn"):
        model = build(family)
        found = model.predict([photos[0], Image.fromarray(photos[1])])
        batch = prepare(photos, model.spec)
        x, sizes, scales = (torch.from_numpy(array) for array in batch[:3])
        factors = scales.repeat(1, 2)
        with torch.no_grad():
            maps = model.forward_pyramid(x.double())
            proposals = [
                boxes for boxes, _ in model.rpn_head.propose(*model.rpn_head(maps), sizes, model.spec.proposals)
            ]
            scores, boxes = model.roi_head.refine(maps, joined(proposals), sizes)
        counts = [len(boxes) for boxes in proposals]
        for image, box, score, factor, pixels in zip(
            found, boxes.split(counts), scores.split(counts), factors, photos, strict=True
        ):
            if model.spec.has_masks:
                expected = model.roi_head.select(box, score)["boxes"] / factor
                assert image["masks"].shape[1:] == pixels.shape[:2]
            else:
                expected = model.roi_head.select(box / factor, score)["boxes"]
            assert torch.allclose(image["boxes"], expected, rtol=1e-9, atol=1e-9)
            height, width, _ = pixels.shape
            assert (image["boxes"] <= torch.tensor([width, height, width, height]) + 1e-9).all()


def test_predicting_leaves_every_module_in_its_mode_and_keeps_no_graph():
    model = build("faster_rcnn").train()
    model.backbone.layer1.eval()
    before = [module.training for module in model.modules()]
    (found,) = model.predict([photo(20, 20)])
    assert [module.training for module in model.modules()] == before
    assert len(found["boxes"])
    assert not any(tensor.requires_grad for tensor in found.values())
