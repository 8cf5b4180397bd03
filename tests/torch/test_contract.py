"""timm's contract in PyTorch: what a new classifier takes over of the network that it is put into."""

import pytest
import torch

from resnest.torch import ResNeSt
from tests.support.specs import tiny


@pytest.mark.parametrize("train", [False, True], ids=["predicting", "training"])
def test_a_new_head_is_in_the_networks_mode_and_dtype_and_on_its_device(train):
    model = ResNeSt(tiny()).to("meta", torch.float64).train(train)
    model.reset_classifier(3, "catavgmax")
    assert all(module.training is train for module in model.modules())
    assert all((p.device.type, p.dtype) == ("meta", torch.float64) for p in model.fc.parameters())
    model.reset_classifier(0, "")
    model.prune_intermediate_layers([0])
    assert all(module.training is train for module in model.modules())
