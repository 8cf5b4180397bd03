import dataclasses

import pytest

from tests.support.specs import tiny_detector, tiny_segmenter

NETWORKS = [tiny_segmenter(), tiny_detector()]


@pytest.mark.parametrize("spec", NETWORKS, ids=lambda spec: type(spec).__name__)
def test_norms_are_the_backbone_s(spec):
    other = spec.renormed(norm_eps=0.5)
    assert (other.norm_eps, other.norm_momentum) == (0.5, spec.norm_momentum)
    assert other == dataclasses.replace(spec, backbone=dataclasses.replace(spec.backbone, norm_eps=0.5))


@pytest.mark.parametrize("spec", NETWORKS, ids=lambda spec: type(spec).__name__)
def test_a_backbone_comes_without_a_classifier_and_in_the_network_s_form(spec):
    taken = dataclasses.replace(spec, deploy=True, backbone=dataclasses.replace(spec.backbone, num_classes=7))
    assert (taken.backbone.num_classes, taken.backbone.deploy) == (0, True)
    assert dataclasses.replace(spec, backbone=dataclasses.asdict(spec.backbone)) == spec


@pytest.mark.parametrize("spec", NETWORKS, ids=lambda spec: type(spec).__name__)
def test_a_backbone_whose_tensors_have_no_names_is_refused(spec):
    with pytest.raises(ValueError, match="backbone must have deep_stem and avg_down"):
        dataclasses.replace(spec, backbone=dataclasses.replace(spec.backbone, deep_stem=False))
