"""Detectors in every backend: the same boxes, scores and masks, and what a user may give them."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from resnest import get_detection_spec
from resnest import weights as weight_files
from resnest.backends import registry
from resnest.specs.detection.anchors import Proposals
from resnest.specs.detection.network import FAMILIES
from resnest.weights.seeded import draw_weights, make_input
from tests.support.arrays import relative
from tests.support.backends import Backend
from tests.support.specs import tiny, tiny_detector

WITH_MASKS = [family for family in FAMILIES if "mask" in family]


def build(backend, family="faster_rcnn", **changes):
    """A tiny detector in float64 that finds something."""
    return backend.build(tiny_detector(family, **changes), dtype="float64")


def look(backend, model, x, *sizes):
    """What is found in each image, as NumPy arrays."""
    found = backend.face.predict(model, lambda images: model(images, *sizes), backend.array(x))
    return [{part: np.asarray(value) for part, value in image.items()} for image in found]


def images(*shape):
    return make_input(shape).astype("float64")


@pytest.mark.torch
@pytest.mark.gluon
@pytest.mark.parametrize("family", WITH_MASKS)
def test_both_backends_find_the_same_masks(family):
    """What else they find `resnest parity` compares."""
    x = images(2, 3, 64, 96)
    first, second = (look(one, build(one, family), x, [(64, 96), (50, 61)]) for one in map(Backend, ("torch", "gluon")))
    for ours, theirs in zip(first, second, strict=True):
        assert ours["masks"].any()
        assert np.array_equal(ours["masks"], theirs["masks"])


@pytest.mark.torch
@pytest.mark.gluon
def test_both_backends_find_the_same_in_photos():
    random = np.random.default_rng(0)
    photos = [random.integers(0, 256, (*frame, 3), dtype=np.uint8) for frame in ((40, 30), (31, 70))]
    first, second = (
        build(one, "cascade_mask_rcnn").predict([photos[0], Image.fromarray(photos[1])])
        for one in map(Backend, ("torch", "gluon"))
    )
    for photo, ours, theirs in zip(photos, first, second, strict=True):
        assert np.array_equal(ours["labels"], theirs["labels"])
        assert relative(theirs["boxes"], ours["boxes"].numpy()) < 1e-11
        assert theirs["masks"].shape[1:] == photo.shape[:2]
        assert np.array_equal(ours["masks"], theirs["masks"])


def test_nothing_found_is_an_empty_result_of_the_right_shapes(backend):
    spec = tiny_detector("cascade_mask_rcnn")
    far = draw_weights(spec)
    far["rpn_head.rpn_reg.weight"] *= 0
    far["rpn_head.rpn_reg.bias"] += 1e6  # every box is far outside
    unsure = build(backend, "cascade_mask_rcnn", score_threshold=1.0)
    for model in (unsure, backend.build(spec, far, dtype="float64")):
        for image in look(backend, model, images(2, 3, 64, 96)):
            assert image["boxes"].shape == (0, 4)
            assert image["scores"].shape == image["labels"].shape == (0,)
            assert image["labels"].dtype == np.int64
            assert image["masks"].shape == (0, 64, 96)


def test_the_best_of_each_map_are_proposed_best_first(backend):
    random = np.random.default_rng(0)
    logits = [random.permutation(3 * side * side).reshape(1, 3, side, side) / 100 for side in (8, 4, 2, 1, 1)]
    deltas = [np.zeros((1, 12, *x.shape[2:])) for x in logits]
    head, rule = backend.build(tiny_detector()).rpn_head, Proposals(before=2, after=7, iou=1.0)
    given = [[backend.array(x.astype(np.float32)) for x in maps] for maps in (logits, deltas)]
    sizes = np.array([[256, 256]])  # which Gluon's leave to NumPy, as all that follows
    ((boxes, scores),) = head.propose(*given, sizes if backend.name == "gluon" else backend.array(sizes), rule)
    best = sorted((seen for x in logits for seen in np.sort(x.ravel())[-2:]), reverse=True)[:7]
    assert np.asarray(scores) == pytest.approx(1 / (1 + np.exp(-np.array(best))))
    assert boxes.shape == (7, 4)


def test_an_image_with_pixels_that_are_no_numbers_is_named(backend):
    x = images(2, 3, 64, 96)
    x[1, 0, 5, 5] = float("nan")
    with pytest.raises(ValueError, match="image 1 of the batch gives numbers that are not finite"):
        look(backend, build(backend), x)


@pytest.mark.parametrize("sizes", [[(64, 96)], [(64, 96)] * 3, [(64, 96), (65, 96)], [(64, 96), (0, 96)]])
def test_sizes_that_are_not_the_batchs_are_named(backend, sizes):
    with pytest.raises(ValueError, match="must be the height and width, without padding, of each of 2 images of 64x96"):
        look(backend, build(backend), images(2, 3, 64, 96), sizes)


@pytest.mark.parametrize("frame", [(1, 1), (1, 400), (300, 2)])
def test_a_photo_of_any_size_is_looked_at(backend, frame):
    photo = np.random.default_rng(0).integers(0, 256, (*frame, 3), dtype=np.uint8)
    (found,) = backend.build(tiny_detector("mask_rcnn")).predict([photo])
    assert found["masks"].shape[1:] == frame


def test_the_deploy_form_finds_the_same(backend):
    model = build(backend, "mask_rcnn")
    deployed = model.deploy()
    assert deployed.spec.deploy
    assert not [name for name in backend.module.get_weights(deployed) if "running" in name]
    x = images(1, 3, 64, 96)
    (ours,), (theirs,) = look(backend, deployed, x), look(backend, model, x)
    assert ours["labels"].tolist() == theirs["labels"].tolist()
    assert relative(ours["boxes"], theirs["boxes"]) < 1e-9


def test_a_detector_is_built_by_its_name_too(backend):
    small = {"channels": 8, "hidden": 16, "backbone": tiny_detector().backbone, "num_classes": 3}
    name = "cascade_mask_rcnn_resnest50_coco"
    model = backend.module.create_model(name, **small)
    assert isinstance(model, backend.module.Detector)
    assert model.spec == get_detection_spec(name, **small)
    weights = backend.module.get_weights(model)
    again = backend.module.create_detector(name, weights=weights, **small)
    for tensor, array in backend.module.get_weights(again).items():
        assert np.array_equal(array, weights[tensor])
    with pytest.raises(TypeError, match="takes no argument 'pretrained'"):
        backend.module.create_model(name, pretrained=True)


def test_a_fresh_detector_is_drawn_as_mmdetections(backend):
    spec = get_detection_spec(
        "mask_rcnn_resnest50_coco", channels=32, hidden=256, backbone=tiny_detector().backbone, num_classes=20
    )
    weights = backend.module.get_weights(
        backend.module.create_detector(
            spec.name, **{"channels": 32, "hidden": 256, "backbone": spec.backbone, "num_classes": 20}
        )
    )
    for tensor, std in {
        "roi_head.bbox_head.fc_cls": 0.01,
        "roi_head.bbox_head.fc_reg": 0.001,
        "rpn_head.rpn_conv": 0.01,
    }.items():
        assert weights[f"{tensor}.weight"].std() == pytest.approx(std, rel=0.1)
    fan = 32 * 49 + 256
    assert np.abs(weights["roi_head.bbox_head.shared_fcs.0.weight"]).max() == pytest.approx((6 / fan) ** 0.5, rel=0.01)
    assert weights["roi_head.mask_head.upsample.weight"].std() == pytest.approx((2 / (32 * 4)) ** 0.5, rel=0.1)
    biases = [array for name, array in weights.items() if name.endswith("bias") and "backbone" not in name]
    assert not any(bias.any() for bias in biases)


@pytest.mark.gluon
def test_gluons_detectors_hybridize_and_are_not_trained():
    backend = Backend("gluon")
    model = build(backend, "mask_rcnn")
    x = images(2, 3, 64, 96)
    before = look(backend, model, x)
    model.hybridize()
    for ours, theirs in zip(look(backend, model, x), before, strict=True):
        assert ours["labels"].tolist() == theirs["labels"].tolist()
        assert relative(ours["boxes"], theirs["boxes"]) < 1e-12
    with pytest.raises(ValueError, match=r"tiny is a detector, and those are trained in PyTorch: resnest\.torch"):
        backend.train(model, x)


@pytest.mark.torch
@pytest.mark.gluon
def test_what_one_backend_saved_opens_in_every_one(backend, tmp_path):
    spec = tiny_detector("cascade_mask_rcnn")
    model = backend.build(spec)
    model.save_pretrained(tmp_path)
    assert "A detector (cascade_mask_rcnn)" in (tmp_path / "README.md").read_text()
    for other in map(Backend, registry.BACKENDS):
        opened = other.module.Detector.from_pretrained(tmp_path, score_threshold=0.5)
        assert opened.spec == dataclasses.replace(spec, score_threshold=0.5)
        weights = other.module.get_weights(opened)
        assert all(np.array_equal(weights[name], array) for name, array in draw_weights(spec).items())
    with pytest.raises(ValueError, match="saved from a detector, and this opens a classifier: open it as a detector"):
        backend.module.ResNeSt.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="these weights tell 5 classes apart and tiny 7"):
        backend.module.Detector.from_pretrained(tmp_path, num_classes=7)


def test_the_wrong_weights_are_one_sentence_in_every_function(backend, tmp_path):
    """Users' commonest mistake is to give a detector ImageNet's weights: it would find nothing."""
    name = "faster_rcnn_resnest50_coco"
    weight_files.save(draw_weights(tiny()), tmp_path / "imagenet.npz")
    network = backend.module
    for create in (network.create_detector, network.create_model):
        for weights in (tmp_path / "imagenet.npz", draw_weights(tiny())):
            with pytest.raises(
                ValueError, match=f"a classification network's, and {name} would find nothing with them"
            ):
                create(name, weights=weights)
        with pytest.raises(ValueError, match=f"these weights are a mask_rcnn's, and {name} is a faster_rcnn"):
            create(name, weights=draw_weights(tiny_detector("mask_rcnn")))
        with pytest.raises(ValueError, match=r"tell 5 classes apart and .* 80: build it with num_classes=5"):
            create(name, weights=draw_weights(tiny_detector()))


def test_the_wrong_folder_is_one_sentence(backend, tmp_path):
    network = backend.module
    network.create_model("resnest14", stem_width=8, bottleneck_width=8, weights=None).save_pretrained(tmp_path / "it")
    with pytest.raises(ValueError, match="opens a detector: open it as a classifier, or have `resnest train` make a"):
        network.Detector.from_pretrained(tmp_path / "it")
    with pytest.raises(ValueError, match="from a classifier, and this opens a segmenter: open it as a classifier"):
        network.Segmenter.from_pretrained(tmp_path / "it")
