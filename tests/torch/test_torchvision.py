"""What the documentation shows runs, as it stands there but smaller."""

import re

import pytest
import torch

from tests.support.paths import REPOSITORY

pytestmark = pytest.mark.torch

SMALLER = {
    '"resnest50"': '"resnest14", 16, stem_width=8, bottleneck_width=8',
    '"min_size": 800, "max_size": 1333': '"min_size": 64, "max_size": 96',
    "480, 640": "64, 96",
}


@pytest.fixture(scope="module")
def shown():
    """What the last code in docs/detection.md defines."""
    *_, code = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "detection.md").read_text(), re.DOTALL)
    for whole, small in SMALLER.items():
        assert whole in code
        code = code.replace(whole, small)
    torch.manual_seed(0)
    names: dict = {"__name__": "shown"}
    exec(code, names)
    return names


@pytest.mark.parametrize("name", ["faster_rcnn", "mask_rcnn", "retinanet"])
def test_torchvisions_detectors_find_and_learn_on_our_features(shown, name):
    model, photo = shown[name], shown["photo"]
    with torch.no_grad():
        (found,) = model.eval()([photo])
    assert {"boxes", "labels", "scores"} <= set(found)
    masks = torch.zeros(1, *photo.shape[1:], dtype=torch.uint8)
    masks[:, 8:50, 8:60] = 1
    truth = {"boxes": torch.tensor([[8.0, 8, 60, 50]]), "labels": torch.tensor([1]), "masks": masks}
    losses = model.train()([photo] * 2, [truth] * 2)
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    body = model.backbone.body
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in body.parameters())
