"""Our backbone as mmengine builds, initialises, freezes and saves it."""

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from torch import nn

from resnest import get_spec, weights
from resnest.openmmlab import MODELS, ResNeSt
from resnest.weights.seeded import draw_weights

NARROW = {"stem_width": 8, "bottleneck_width": 8}
SPEC = get_spec("resnest14", num_classes=3, **NARROW)
IMAGES = torch.rand(2, 3, 64, 64)


def build(**options):
    return MODELS.build({"type": "resnest.ResNeSt", "name": "resnest14", **NARROW, **options})


@pytest.fixture
def file(tmp_path):
    weights.save(draw_weights(SPEC), tmp_path / "a.pth")
    return str(tmp_path / "a.pth")


def holds_them(model):
    return all((model.state_dict()[name].numpy() == draw_weights(SPEC)[name]).all() for name in ("bn1.weight",))


def test_init_cfg_loads_a_file_when_mmengine_says_so(file):
    model = build(init_cfg={"type": "Pretrained", "checkpoint": file})
    assert not holds_them(model)
    model.init_weights()
    assert holds_them(model)


def test_init_cfg_loads_published_weights_by_their_name(file, monkeypatch):
    monkeypatch.setattr("resnest.openmmlab.download", lambda name: {"resnest14": file}[name])
    model = build(init_cfg={"type": "Pretrained", "checkpoint": "open-mmlab://resnest14"})
    model.init_weights()
    assert holds_them(model)


@pytest.mark.parametrize(("which", "scale"), [(None, 2), ("ema", 2), ("model", 1)])
@pytest.mark.parametrize("key", ["weights", "init_cfg"])
def test_of_a_trainers_file_the_average_is_taken_or_what_which_says(tmp_path, which, scale, key):
    raw = {name: torch.from_numpy(array) for name, array in draw_weights(SPEC).items()}
    path = tmp_path / "trained.pth"
    torch.save({"state_dict": raw, "state_dict_ema": {name: 2 * tensor for name, tensor in raw.items()}}, path)
    given = str(path) if key == "weights" else {"type": "Pretrained", "checkpoint": str(path)}
    model = build(**{key: given}, which=which)
    model.init_weights()
    assert torch.equal(model.bn1.weight, scale * raw["bn1.weight"])


def test_any_other_init_cfg_is_mmengines():
    model = build(init_cfg={"type": "Constant", "layer": "Conv2d", "val": 0.5})
    model.init_weights()
    assert model.conv1[0].weight.unique().tolist() == [0.5]


def test_norms_stay_in_eval_mode_after_synchronised_ones_were_reverted():
    model = revert_sync_batchnorm(build(norm_cfg={"type": "SyncBN"}, norm_eval=True)).train()
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert not any(norm.training for norm in norms)


def test_group_norms_are_built_and_train_on_one_image():
    model = build(norm_cfg={"type": "GN", "num_groups": 4}).train()
    assert sum(isinstance(module, nn.GroupNorm) for module in model.modules()) > 20
    assert len(model(IMAGES[:1])) == 4


def test_a_norms_own_epsilon_is_kept_in_every_form(tmp_path):
    model = build(norm_cfg={"type": "BN", "eps": 0.2}).eval()
    model.save_pretrained(tmp_path)
    for again in (model.deploy(), ResNeSt.from_pretrained(tmp_path)):
        assert type(again) is ResNeSt
        for ours, theirs in zip(again(IMAGES), model(IMAGES)):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_norms_that_need_no_gradient_have_none():
    model = build(norm_cfg={"type": "GN", "num_groups": 4, "requires_grad": False})
    assert not any(p.requires_grad for m in model.modules() if isinstance(m, nn.GroupNorm) for p in m.parameters())
    assert model.conv1[0].weight.requires_grad
