"""Detectors in PyTorch: mmdetection's proposals, boxes, scores and masks, and what a user may give them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from resnest import get_detection_spec
from resnest.data.detection import prepare
from resnest.specs.detection.network import FAMILIES
from resnest.torch import Detector, create_detector, create_model, get_weights, load_weights
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


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_nothing_found_is_an_empty_result_of_the_right_shapes(family):
    model = build(family, score_threshold=1.0)
    no_proposals = build(family)
    no_proposals.rpn_head.rpn_reg.weight.zero_()
    no_proposals.rpn_head.rpn_reg.bias.fill_(1e6)  # every box is far outside
    for network in (model, no_proposals):
        for image in network(images(2, 3, 64, 96)):
            assert image["boxes"].shape == (0, 4)
            assert image["scores"].shape == image["labels"].shape == (0,)
            assert image["labels"].dtype == torch.int64
            if network.spec.has_masks:
                assert image["masks"].shape == (0, 64, 96)


def test_an_image_with_pixels_that_are_no_numbers_is_named():
    x = images(2, 3, 64, 96)
    x[1, 0, 5, 5] = float("nan")
    with pytest.raises(ValueError, match="image 1 of the batch gives numbers that are not finite"):
        build("faster_rcnn")(x)


@pytest.mark.parametrize("sizes", [[(64, 96)], [(64, 96), (65, 96)], [(64, 96), (0, 96)]])
def test_sizes_that_are_not_the_batchs_are_named(sizes):
    with pytest.raises(ValueError, match="must be the height and width, without padding, of each of 2 images of 64x96"):
        build("faster_rcnn")(images(2, 3, 64, 96), sizes)


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


@pytest.mark.parametrize("frame", [(1, 1), (1, 400), (300, 2)])
def test_a_photo_of_any_size_is_looked_at(frame):
    (found,) = build("mask_rcnn", torch.float32).predict([photo(*frame)])
    assert found["masks"].shape[1:] == frame


def test_predicting_leaves_every_module_in_its_mode():
    model = build("faster_rcnn").train()
    model.backbone.layer1.eval()
    before = [module.training for module in model.modules()]
    model.predict([photo(20, 20)])
    assert [module.training for module in model.modules()] == before


@pytest.mark.parametrize("family", ["mask_rcnn", "cascade_rcnn"])
@torch.no_grad()
def test_the_deploy_form_finds_the_same(family):
    model = build(family)
    deployed = model.deploy()
    assert not [module for module in deployed.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    x = images(1, 3, 64, 96)
    for ours, theirs in zip(deployed.forward_pyramid(x), model.forward_pyramid(x), strict=True):
        assert relative(ours.numpy(), theirs.numpy()) < 1e-12
    (ours,), (theirs,) = deployed(x), model(x)
    assert ours["labels"].tolist() == theirs["labels"].tolist()
    assert torch.allclose(ours["boxes"], theirs["boxes"], rtol=1e-9)


def test_a_fresh_detector_is_drawn_as_mmdetections():
    torch.manual_seed(0)
    model = Detector(tiny_detector("mask_rcnn", channels=32, hidden=256))
    head = model.roi_head.bbox_head
    assert head.fc_cls.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert head.fc_reg.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert model.rpn_head.rpn_conv.weight.std().item() == pytest.approx(0.01, rel=0.1)
    fan = 32 * 49 + 256
    assert head.shared_fcs[0].weight.abs().max().item() == pytest.approx((6 / fan) ** 0.5, rel=0.01)
    biases = [p for name, p in model.named_parameters() if name.endswith("bias") and "backbone" not in name]
    assert not any(bias.any() for bias in biases)


def test_a_detector_is_built_by_its_name_too():
    small = {"channels": 8, "hidden": 16, "backbone": tiny_detector().backbone, "num_classes": 3}
    model = create_model("cascade_mask_rcnn_resnest50_coco", **small)
    assert isinstance(model, Detector)
    assert model.spec == get_detection_spec("cascade_mask_rcnn_resnest50_coco", **small)
    again = create_detector("cascade_mask_rcnn_resnest50_coco", weights=get_weights(model), **small)
    assert torch.equal(again.roi_head.bbox_head[2].fc_cls.weight, model.roi_head.bbox_head[2].fc_cls.weight)
    with pytest.raises(TypeError, match="takes no argument 'pretrained'"):
        create_model("cascade_mask_rcnn_resnest50_coco", pretrained=True)
