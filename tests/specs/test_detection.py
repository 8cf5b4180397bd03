"""What detectors are, in numbers: mmdetection's tensors, anchors and rules, and what they cost."""

import dataclasses
import hashlib
import json
import math

import pytest

from resnest import get_detection_spec, get_spec, list_detection_models
from resnest.specs import find
from resnest.specs.detection.anchors import MAX_LOG_RATIO, AnchorSpec
from resnest.specs.detection.network import FAMILIES
from resnest.specs.detection.published import PUBLISHED_AP
from tests.support.paths import FIXTURES


def detector(family, depth=50, **changes):
    return get_detection_spec(f"{family}_resnest{depth}_coco", **changes)


@pytest.mark.parametrize("family", ["faster_rcnn", "mask_rcnn", "cascade_rcnn"])
def test_tensors_are_mmdetections_in_its_order(family):
    theirs = json.loads((FIXTURES / f"mmdet_{family}_tensors.json").read_text())
    assert list(detector(family).tensors().items()) == [(name, tuple(shape)) for name, shape in theirs.items()]


@pytest.mark.parametrize(
    ("name", "number", "digest"),
    [
        ("faster_rcnn_resnest101_coco", 842, "719f6147f2997548"),
        ("mask_rcnn_resnest101_coco", 866, "ff02699deb7cc1ab"),
        ("cascade_rcnn_resnest101_coco", 894, "790b40de16e1af7b"),
        ("cascade_mask_rcnn_resnest50_coco", 575, "b34a7a96399e28a4"),
        ("cascade_mask_rcnn_resnest101_coco", 966, "935baa936ec3c656"),
    ],
)
def test_tensors_of_the_other_five_are_mmdetections_too(name, number, digest):
    """A digest of the names and shapes, in order, of the network that mmdetection 3.3.0 builds of its config."""
    rows = [[tensor, list(shape)] for tensor, shape in get_detection_spec(name).tensors().items()]
    assert len(rows) == number
    assert hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16] == digest


def test_there_are_eight_networks_and_a_cascade_has_three_heads_of_each_kind():
    assert list_detection_models() == [f"{family}_resnest{depth}_coco" for family in FAMILIES for depth in (50, 101)]
    assert list(PUBLISHED_AP) == list_detection_models()
    names = detector("cascade_mask_rcnn", 101).tensors()
    assert [f"roi_head.mask_head.{stage}.conv_logits.weight" in names for stage in range(4)] == [True] * 3 + [False]
    assert names["backbone.stem.0.weight"] == (64, 3, 3, 3)
    assert find("cascade_mask_rcnn_resnest101_coco").backbone == get_spec("resnest101", num_classes=0)


def test_anchors_are_mmdetections():
    """`AnchorGenerator(strides=[4, 8, 16, 32, 64], ratios=[0.5, 1, 2], scales=[8])` keeps these."""
    wide, square, high = AnchorSpec().at_origin(0)
    assert wide == (-22.627416610717773, -11.313708305358887, 22.627416610717773, 11.313708305358887)
    assert square == (-16, -16, 16, 16)
    assert high == (wide[1], wide[0], wide[3], wide[2])
    assert AnchorSpec().at_origin(4)[1] == (-256, -256, 256, 256)
    assert math.exp(MAX_LOG_RATIO) == pytest.approx(62.5)  # mmdetection's wh_ratio_clip is 16 / 1000


@pytest.mark.parametrize(
    ("family", "low_quality", "proposals", "border", "betas", "ious"),
    [
        ("faster_rcnn", False, 1000, -1, (0, 0), [0.5]),
        ("mask_rcnn", True, 1000, -1, (0, 0), [0.5]),
        ("cascade_rcnn", False, 2000, 0, (1 / 9, 1), [0.5, 0.6, 0.7]),
        ("cascade_mask_rcnn", False, 2000, 0, (1 / 9, 1), [0.5, 0.6, 0.7]),
    ],
)
def test_training_rules_are_each_configs_own(family, low_quality, proposals, border, betas, ious):
    spec = detector(family)
    assert [stage.assigner for stage in spec.stages] == [(iou, iou, iou, low_quality) for iou in ious]
    assert [stage.weight for stage in spec.stages] == [1, 0.5, 0.25][: len(ious)]
    assert [stage.stds[1:3] for stage in spec.stages] == [(0.1, 0.2), (0.05, 0.1), (0.033, 0.067)][: len(ious)]
    assert spec.train_proposals == (2000, proposals, 0.7)
    assert spec.allowed_border == border
    assert (spec.rpn_beta, spec.box_beta) == betas
    assert spec.box_head.agnostic == family.startswith("cascade")


@pytest.mark.parametrize("family", FAMILIES)
def test_costs_are_those_of_the_layers_spelled_out(family):
    """Counted by hand from the shapes of maps at 64x96: p2 is 16x24, and there are 1000 regions and 100 masks."""
    spec = detector(family)
    cost = spec.cost(64, 96)
    assert cost.stages["p2"] == (256, 16, 24)
    assert cost.stages["p6"] == (256, 1, 2)
    assert spec.cost(256, 352).stages["p6"] == (256, 4, 6)

    def macs(prefix):
        return sum(row.macs for row in cost.layers if row.name.startswith(prefix))

    pixels = 16 * 24 + 8 * 12 + 4 * 6 + 2 * 3
    laterals = 256 * (256 * 384 + 512 * 96 + 1024 * 24 + 2048 * 6)
    assert macs("neck.") == laterals + 256 * 256 * 9 * pixels
    assert macs("rpn_head.") == (256 * 256 * 9 + 256 * 15) * (pixels + 2)
    stages, outputs = len(spec.stages), 4 if spec.is_cascade else 320
    one = 4 * 256 * 256 * 9 * 49 + 12544 * 1024 + 1024 * (81 + outputs)
    assert macs("roi_head.bbox_head") == stages * 1000 * one
    mask = 4 * 256 * 256 * 9 * 196 + 256 * 256 * 784 + 256 * 80 * 784
    assert macs("roi_head.mask_head") == (stages * 100 * mask if spec.has_masks else 0)
    assert macs("backbone.") == spec.backbone.cost(64, 96).conv_macs
    assert cost.macs == sum(macs(part) for part in ("backbone.", "neck.", "rpn_head.", "roi_head."))


def test_training_norms_see_the_sampled_regions():
    pixels = detector("mask_rcnn").norm_pixels(64, 96)
    assert pixels["backbone.stem.1"] == 32 * 48
    assert pixels["roi_head.bbox_head.shared_convs.0.bn"] == 512 * 49
    assert pixels["roi_head.mask_head.convs.3.bn"] == 128 * 196
    norms = [layer.norm for layer in detector("mask_rcnn").layers() if layer.norm]
    assert sorted(pixels) == sorted(norms)


def test_the_deploy_form_has_no_norms_in_backbone_and_heads():
    spec = detector("cascade_mask_rcnn").in_form(deploy=True)
    assert spec.backbone.deploy
    assert not [name for name in spec.tensors() if "running_var" in name]
    assert "roi_head.mask_head.2.convs.3.conv.bias" in spec.tensors()
    assert spec.in_form(deploy=False) == detector("cascade_mask_rcnn")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "mask_rccn"}, "family='mask_rccn' must be one of .*did you mean mask_rcnn"),
        ({"num_classes": 0}, "num_classes=0 must be a whole number"),
        ({"score_threshold": 5}, "score_threshold=5 must be between 0 and 1"),
        ({"scale": (800, 1333)}, r"scale=\(800, 1333\) must be a long side and a short side"),
        ({"frozen_stages": 5}, "frozen_stages=5 must be 0"),
        ({"backbone": get_spec("resnest50", output_stride=8)}, "output_stride=8 leaves a detector no pyramid"),
        ({"backbone": get_spec("resnest50", deep_stem=False)}, "deep_stem and avg_down"),
    ],
)
def test_values_that_make_no_network_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(detector("faster_rcnn"), **changes)


def test_tuples_may_come_as_lists_from_a_file():
    spec = detector("faster_rcnn")
    again = dataclasses.replace(spec, anchors=[*spec.anchors], proposals=[*spec.proposals], scale=[*spec.scale])
    assert again == spec
    assert (again.anchors.scale, again.proposals.iou) == (8, 0.7)


def test_unknown_names_say_what_was_probably_meant():
    with pytest.raises(ValueError, match=r"did you mean .*mask_rcnn_resnest50_coco"):
        get_detection_spec("mask_rcnn_resnest50_cocoo")
    with pytest.raises(TypeError, match="num_classes"):
        detector("faster_rcnn", classes=3)
