"""Weights of detectors: dialects, files, and what is refused."""

import json

import numpy as np
import pytest

from resnest import weights as weight_files
from resnest.specs.detection.network import FAMILIES
from resnest.weights.fold import fold
from resnest.weights.formats import files
from resnest.weights.names.detection import DIALECTS
from resnest.weights.seeded import draw_weights
from tests.support.paths import FIXTURES
from tests.support.specs import tiny_detector


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


def test_every_norm_folds():
    spec = tiny_detector("mask_rcnn")
    folded = fold(draw_weights(spec))
    assert {name: array.shape for name, array in folded.items()} == spec.in_form(deploy=True).tensors()
