"""Weights of detectors: dialects, files, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest

from resnest import get_detection_spec, list_detection_models
from resnest import weights as weight_files
from resnest.specs.detection.network import FAMILIES
from resnest.weights.fold import fold
from resnest.weights.formats import files
from resnest.weights.names.detection import DIALECTS
from resnest.weights.recognition import detection
from resnest.weights.recognition.tasks import fit
from resnest.weights.seeded import draw_weights
from tests.support.paths import FIXTURES
from tests.support.specs import tiny, tiny_detector, tiny_segmenter


@pytest.mark.parametrize("name", list_detection_models())
def test_every_detector_is_recognised_by_its_tensors(name):
    spec = get_detection_spec(name)
    assert weight_files.recognise(spec.tensors()) == spec
    folded = spec.in_form(deploy=True)
    assert weight_files.recognise(folded.tensors()) == folded


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("changes", [{}, {"num_classes": 3}, {"channels": 16, "box_convs": 1}])
def test_a_network_of_ones_own_is_recognised_too(family, changes):
    found = weight_files.recognise(tiny_detector(family, **changes).tensors())
    spec = tiny_detector(family, **changes)
    assert found.tensors() == spec.tensors()
    assert (found.family, found.num_classes) == (family, spec.num_classes)


def test_a_published_network_for_other_classes_keeps_its_numbers_and_not_its_classes():
    spec = get_detection_spec("cascade_rcnn_resnest101_coco", num_classes=3)
    found = weight_files.recognise(spec.tensors())
    assert found == dataclasses.replace(spec, dataset="")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_files_in_every_dialect_hold_the_same_network(tmp_path, family, dialect):
    spec = tiny_detector(family)
    weights = draw_weights(spec)
    translated = dialect.from_canonical(spec)
    assert dialect.to_canonical(translated.values()) == {theirs: ours for ours, theirs in translated.items()}
    weight_files.save(weights, tmp_path / "a.npz", dialect=dialect.name)
    assert weight_files.dialect_of(tmp_path / "a.npz") == dialect.name
    weight_files.convert(tmp_path / "a.npz", tmp_path / "b.params")
    assert weight_files.dialect_of(tmp_path / "b.params") == "gluon"
    loaded = weight_files.load(tmp_path / "b.params")
    assert list(loaded) == list(weights)
    assert all(np.array_equal(loaded[name], weights[name]) for name in weights)


def test_a_checkpoint_of_mmdetection_is_the_whole_detector_and_with_backbone_its_backbone(tmp_path, caplog):
    """As a trainer writes it: behind a prefix, with PyTorch's counters of steps."""
    theirs = json.loads((FIXTURES / "mmdet_mask_rcnn_tensors.json").read_text())
    arrays = {f"module.{name}": np.zeros(shape, "float16") for name, shape in theirs.items()}
    counters = {f"{name.removesuffix('running_var')}num_batches_tracked": np.zeros((), "int64") for name in arrays}
    files.write_file(tmp_path / "mmdet.npz", arrays | {name: n for name, n in counters.items() if "bn" in name})
    loaded = weight_files.load(tmp_path / "mmdet.npz")
    assert list(loaded) == list(theirs)
    assert caplog.text == ""
    assert weight_files.dialect_of(tmp_path / "mmdet.npz") == "mmdetection"
    backbone = weight_files.load(tmp_path / "mmdet.npz", backbone=True)
    assert weight_files.recognise({name: array.shape for name, array in backbone.items()}).name == "resnest50"
    assert len(loaded) - len(backbone) == 72


@pytest.mark.parametrize("missing", ["shared_convs", "rpn_head"])
def test_another_detectors_checkpoint_gives_its_backbone_with_a_warning(tmp_path, caplog, missing):
    weights = {name: array for name, array in draw_weights(tiny_detector()).items() if missing not in name}
    files.write_file(tmp_path / "a.npz", weights)
    assert "layer4.0.conv1.weight" in weight_files.load(tmp_path / "a.npz")
    assert "left out" in caplog.text


def test_weights_of_another_network_are_one_sentence():
    spec = tiny_detector()

    def load(other):
        fit(draw_weights(other), spec, spec.tensors())

    with pytest.raises(ValueError, match=r"a classification network's, and tiny is a detector, which would find noth"):
        load(tiny())
    with pytest.raises(ValueError, match="these weights are no detector's"):
        load(tiny_segmenter())
    with pytest.raises(ValueError, match="these weights are a cascade_mask_rcnn's, and tiny is a faster_rcnn"):
        load(tiny_detector("cascade_mask_rcnn"))
    with pytest.raises(ValueError, match="tell 7 classes apart and tiny 5: build it with num_classes=7"):
        load(tiny_detector(num_classes=7))
    with pytest.raises(ValueError, match="not those of tiny"):
        load(tiny_detector(channels=16))


def test_tensors_that_are_no_detectors_are_named():
    shapes = tiny_detector().tensors()
    del shapes["roi_head.bbox_head.fc_cls.weight"]
    with pytest.raises(ValueError, match=r"no detector's: 'roi_head.bbox_head.fc_cls.weight' is not among them"):
        detection.recognise(shapes)
    with pytest.raises(ValueError, match="9 anchors at each pixel"):
        detection.recognise(tiny_detector().tensors() | {"rpn_head.rpn_cls.weight": (9, 8, 1, 1)})


def test_every_norm_folds():
    spec = tiny_detector("mask_rcnn")
    folded = fold(draw_weights(spec))
    assert {name: array.shape for name, array in folded.items()} == spec.in_form(deploy=True).tensors()
