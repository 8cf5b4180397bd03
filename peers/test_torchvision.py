"""torchvision's detectors on our feature maps, in both of the ways that its users put a backbone in."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from resnest.torch import create_model

SMALL = {"stem_width": 8, "bottleneck_width": 16}
STAGES = ("layer1", "layer2", "layer3", "layer4")


def by_stage_names():
    """torchvision's own class, which runs a classifier's children in turn and keeps those that it is told."""
    model = create_model("resnest14", **SMALL)
    return BackboneWithFPN(
        model, {name: str(level) for level, name in enumerate(STAGES)}, model.feature_channels[1:], 32
    )


class ByFeatures(nn.Module):
    """A network that gives feature maps, and a pyramid on them."""

    def __init__(self):
        super().__init__()
        self.body = create_model("resnest14", features_only=True, **SMALL)
        self.fpn = FeaturePyramidNetwork(self.body.feature_channels, 32, LastLevelMaxPool())
        self.out_channels = 32

    def forward(self, x):
        return self.fpn(OrderedDict((str(level), stage) for level, stage in enumerate(self.body(x))))


def faster_rcnn(backbone):
    return FasterRCNN(backbone, num_classes=3, **ANCHORS, **IMAGES)


def mask_rcnn(backbone):
    masks = MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=14, sampling_ratio=2)
    return MaskRCNN(backbone, num_classes=3, mask_roi_pool=masks, **ANCHORS, **IMAGES)


def retina_net(backbone):
    return RetinaNet(backbone, num_classes=3, anchor_generator=ANCHORS["rpn_anchor_generator"], **IMAGES)


IMAGES = {"min_size": 96, "max_size": 128}
ANCHORS = {"rpn_anchor_generator": AnchorGenerator(((16,), (32,), (64,), (96,), (128,)), ((0.5, 1.0, 2.0),) * 5)}


def photos():
    """Two images of different sizes, and in each two objects with their masks."""
    torch.manual_seed(0)
    images = [torch.rand(3, 96, 128), torch.rand(3, 112, 96)]
    boxes = torch.tensor([[8.0, 8.0, 60.0, 70.0], [40.0, 20.0, 90.0, 90.0]])
    targets = []
    for image in images:
        masks = torch.zeros(2, *image.shape[1:], dtype=torch.uint8)
        for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist()):
            mask[top:bottom, left:right] = 1
        targets.append({"boxes": boxes.clone(), "labels": torch.tensor([1, 2]), "masks": masks})
    return images, targets


@pytest.mark.parametrize("backbone", [by_stage_names, ByFeatures])
@pytest.mark.parametrize("detector", [faster_rcnn, mask_rcnn, retina_net])
def test_a_detector_learns_and_finds(detector, backbone):
    torch.manual_seed(0)
    model = detector(backbone()).train()
    images, targets = photos()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9)
    totals = []
    for _ in range(4):
        torch.manual_seed(1)  # the samplers' draws
        total = sum(model(images, targets).values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < totals[0]
    ours = {name: p.grad for name, p in model.backbone.body.named_parameters() if not name.startswith("fc.")}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in ours.values())
    model.eval()
    with torch.no_grad():
        found = model(images)
    assert [set(one) >= {"boxes", "labels", "scores"} for one in found] == [True, True]
    assert all(one["boxes"].isfinite().all() and one["boxes"].shape[1] == 4 for one in found)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_nodes_and_children_give_the_maps_of_features_only(mode):
    torch.manual_seed(0)
    model = create_model("resnest14", **SMALL)
    features = create_model("resnest14", features_only=True, **SMALL)
    features.load_state_dict({name: t for name, t in model.state_dict().items() if not name.startswith("fc.")})
    nodes = create_feature_extractor(model, list(STAGES))
    children = by_stage_names().body
    children.load_state_dict(features.state_dict())
    x = torch.rand(2, 3, 64, 96)
    for network in (features, nodes, children):
        getattr(network, mode)()
    with torch.no_grad():
        expected = features(x)
        for maps in (nodes(x), children(x)):
            for one, other in zip(maps.values(), expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
