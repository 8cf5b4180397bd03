"""Whatever a network makes on its way lies where its input does, and not on PyTorch's default device.

Tensors on the meta device hold no numbers: where one is made, the other device's numbers are not to be had.
"""

import pytest
import torch

from resnest.specs.detection.network import FAMILIES
from resnest.specs.segmentation.network import HEADS
from resnest.torch import Detector, ResNeSt, Segmenter, load_weights
from resnest.weights.seeded import draw_weights, make_input
from tests.support.specs import tiny, tiny_detector, tiny_segmenter


def check(model):
    load_weights(model, draw_weights(model.spec))
    x = torch.from_numpy(make_input((2, 3, 64, 96))).float()
    with torch.device("meta"):
        train = model.train()
        if not isinstance(model, Detector):
            train(x)
        found = model.eval()(x)
    tensors = [*found[0].values()] if isinstance(found, list) else [found]
    assert {tensor.device.type for tensor in tensors} == {"cpu"}


@pytest.mark.parametrize("radix", [1, 2, 4])
def test_a_classifier_with_dropblock(radix):
    check(ResNeSt(tiny(radix=radix), dropblock_prob=0.1, final_drop=0.1))


@pytest.mark.parametrize("head", HEADS)
def test_a_segmenter(head):
    check(Segmenter(tiny_segmenter(head)))


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_detector(family):
    check(Detector(tiny_detector(family)))
