import sys

import pytest
import torch

from resnest import get_spec
from resnest.specs.segmentation.heads import CLASSIFIER_STD
from resnest.torch import Detector
from resnest.torch.layers.regions import operators
from tests.support.specs import tiny_detector


@pytest.mark.parametrize("last_gamma", [False, True])
def test_init_weights_draws_everything_even_after_to_empty(last_gamma):
    import resnest.torch

    with torch.device("meta"):
        model = resnest.torch.create_model("resnest14", last_gamma=last_gamma, dropblock_prob=0.2)
    assert "prob=0.2," in repr(model)  # no weight, and there without memory for those
    model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(7)
        for block in (model.layer4[0].dropblock1, model.layer4[0].conv2.dropblock):
            block.prob.fill_(7)
    model.init_weights()
    weights = resnest.torch.get_weights(model)
    assert not any((array == 7).any() for array in weights.values())
    assert weights["layer1.0.bn3.weight"].any() != last_gamma
    assert model.bn1.num_batches_tracked == 0
    assert model.layer4[0].dropblock1.prob == pytest.approx(0.2)
    std = weights["layer3.0.conv3.weight"].std()
    assert std == pytest.approx((2 / 1024) ** 0.5, rel=0.02)


@torch.no_grad()
def test_a_detectors_init_weights_draws_everything():
    model = Detector(tiny_detector("mask_rcnn"))
    for tensor in model.state_dict().values():
        tensor.fill_(7)
    model.init_weights()
    assert not any((tensor == 7).any() for tensor in model.state_dict().values())


def test_a_segmenters_init_weights_draws_everything_even_after_to_empty():
    import resnest.torch

    small = {"backbone": get_spec("resnest14", output_stride=8, dilated_pooling="openmmlab", num_classes=0)}
    with torch.device("meta"):
        model = resnest.torch.create_segmenter("fcn_resnest101_voc", **small)
    model.to_empty(device="cpu")
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(7)
    model.init_weights()
    weights = resnest.torch.get_weights(model)
    assert not any((array == 7).any() for array in weights.values())
    assert weights["decode_head.conv_seg.weight"].std() == pytest.approx(CLASSIFIER_STD, rel=0.05)


def test_on_the_meta_device_nothing_is_drawn(monkeypatch):
    """PyTorch would load its compiler for it: seconds, and in 2.7 an error."""
    import resnest.torch

    def draw(tensor, *values, **how):
        raise AssertionError("a value is drawn that nobody will see")

    for name in ("normal_", "kaiming_normal_", "xavier_uniform_"):
        monkeypatch.setattr(torch.nn.init, name, draw)
    with torch.device("meta"):
        resnest.torch.create_segmenter("fcn_resnest101_voc")
        Detector(tiny_detector("cascade_mask_rcnn"))


def test_torchvision_is_loaded_outside_the_meta_device(monkeypatch, tmp_path):
    """It loads PyTorch's compiler, which computes while it is loaded: in 2.7 an error on the meta device."""
    (tmp_path / "torchvision.py").write_text("import torch; ops = torch.ones(1).device")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with torch.device("meta"):
        assert operators.__wrapped__() == torch.device("cpu")
    del sys.modules["torchvision"]
