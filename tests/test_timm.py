"""Our networks in timm's registry, used by timm's own functions."""

import re

import numpy as np
import pytest
import timm
import torch
from timm.data import create_transform, resolve_model_data_config
from timm.models import save_for_hf
from timm.optim import param_groups_layer_decay
from timm.utils import ModelEmaV3

import resnest
import resnest.timm
from resnest.torch import ResNeSt, get_weights
from resnest.weights.published import pretrained
from resnest.weights.seeded import draw_weights
from tests.support.paths import REPOSITORY

NARROW = {"stem_width": 8, "bottleneck_width": 8}
X = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


def test_every_variant_is_listed_with_its_published_weights():
    assert set(timm.list_models(module="timm")) == set(resnest.list_models())
    tags = {f"{row.variant}.{row.source}" for row in pretrained.CHECKPOINTS}
    assert tags <= set(timm.list_pretrained("resnest*"))
    assert timm.get_pretrained_cfg_value("resnest50.authors-gluon", "interpolation") == "bilinear"
    assert timm.get_pretrained_cfg_value("resnest269", "input_size") == (3, 416, 416)


def test_a_model_by_name_is_ours_and_takes_both_words():
    model = timm.create_model("resnest14", num_classes=7, in_chans=1, drop_path_rate=0.1, norm_eps=1e-3, **NARROW)
    assert type(model) is ResNeSt
    assert (model.spec.num_classes, model.spec.in_channels, model.spec.norm_eps) == (7, 1, 1e-3)
    assert model(torch.randn(2, 1, 64, 64)).shape == (2, 7)


def test_a_norm_layer_may_be_one_of_timms_names():
    model = timm.create_model("resnest14", norm_layer="frozenbatchnorm2d", **NARROW)
    assert type(model.bn1).__name__ == "FrozenBatchNorm2d"
    assert model(X).shape == (2, 1000)


@pytest.mark.parametrize("kind", ["list", "dict", "hook", "fx", "getter"])
def test_each_of_timms_feature_wrappers_gives_the_maps(kind):
    torch.manual_seed(0)
    model = timm.create_model("resnest14", features_only=True, feature_cls=kind, **NARROW).eval()
    torch.manual_seed(0)
    whole = timm.create_model("resnest14", **NARROW).eval()
    with torch.no_grad():
        found = model(X)
        expected = whole.forward_intermediates(X, intermediates_only=True)
    maps = list(found.values()) if isinstance(found, dict) else found
    assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))
    assert model.feature_info.reduction() == [2, 4, 8, 16, 32]
    assert model.feature_info.channels() == [m.shape[1] for m in maps]


@pytest.mark.parametrize("wrong", [(5,), (-6,), (), (1, 1), -1, "1", (1.0,)], ids=str)
def test_indices_that_there_are_not_are_one_sentence_and_not_timms_index_error(wrong):
    with pytest.raises(ValueError, match="must be different numbers out of 0"):
        timm.create_model("resnest14", features_only=True, out_indices=wrong, **NARROW)


@pytest.mark.parametrize("asked", [None, (1, 3), (-1,), 2], ids=str)
def test_indices_mean_what_they_mean_with_timms_own(asked):
    names = ("resnest14", "resnet18")
    ours, theirs = (timm.create_model(name, features_only=True, out_indices=asked) for name in names)
    assert ours.feature_info.reduction() == theirs.feature_info.reduction()
    assert [len(model(X)) for model in (ours, theirs)] == [len(theirs.feature_info.out_indices)] * 2


def test_published_weights_come_by_our_own_download(monkeypatch, tmp_path):
    asked = []

    def download(name, source=None, *, root=None, verify=False):
        asked.append((name, source, root))
        resnest.weights.save(draw_weights(resnest.get_spec(name)), tmp_path / "model.safetensors")
        return tmp_path / "model.safetensors"

    monkeypatch.setattr("resnest.weights.published.pretrained.download", download)
    model = timm.create_model("resnest14", pretrained=True, num_classes=3, cache_dir="here")
    named = timm.create_model("resnest14.timm", pretrained=True)
    assert asked == [("resnest14", None, "here"), ("resnest14", "timm", None)]
    overlay = {"input_size": (3, 288, 288), "crop_pct": 1.0}
    maps = {"features_only": True, "out_indices": (1, 2, 3, 4), "output_stride": 16}
    backbone = timm.create_model("resnest14", pretrained=True, in_chans=1, pretrained_cfg_overlay=overlay, **maps)
    assert backbone.feature_info.reduction() == [4, 8, 16, 16]
    assert backbone.pretrained_cfg["input_size"] == (3, 288, 288)
    drawn = draw_weights(resnest.get_spec("resnest14"))
    assert (get_weights(named)["fc.weight"] == drawn["fc.weight"]).all()
    assert (get_weights(model)["conv1.0.weight"] == drawn["conv1.0.weight"]).all()
    assert model.num_classes == 3
    held = {name: array.numpy() for name, array in backbone.state_dict().items()}
    assert (held["layer4.0.conv1.weight"] == drawn["layer4.0.conv1.weight"]).all()
    grey = drawn["conv1.0.weight"].sum(1, keepdims=True)
    np.testing.assert_allclose(held["conv1.0.weight"], grey, rtol=1e-4, atol=1e-6)


def test_a_file_of_the_users_own_is_loaded_by_timm(tmp_path):
    saved = timm.create_model("resnest14", **NARROW)
    torch.save(saved.state_dict(), tmp_path / "own.pth")
    overlay = {"file": str(tmp_path / "own.pth")}
    model = timm.create_model("resnest14", pretrained=True, pretrained_cfg_overlay=overlay, **NARROW)
    again = timm.create_model("resnest14", checkpoint_path=str(tmp_path / "own.pth"), **NARROW)
    for name, array in get_weights(saved).items():
        assert (get_weights(model)[name] == array).all(), name
        assert (get_weights(again)[name] == array).all(), name


def test_what_timm_saves_for_the_hub_opens_by_its_own_name(tmp_path):
    model = timm.create_model("resnest14", num_classes=3, **NARROW).eval()
    save_for_hf(model, tmp_path, model_args=NARROW, safe_serialization=True)
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert again.spec == model.spec
    assert torch.equal(again(X), model(X))


def test_timms_optimizer_groups_average_and_transform():
    model = timm.create_model("resnest14", **NARROW)
    groups = param_groups_layer_decay(model, layer_decay=0.5)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    assert len({group["lr_scale"] for group in groups}) == 6  # the stem, four blocks, the classifier
    average = ModelEmaV3(model, decay=0.5)
    average.update(model)
    config = resolve_model_data_config(model)
    assert config["crop_pct"] == pytest.approx(0.875)
    photo = create_transform(**config)(_photo())
    assert photo.shape == (3, 224, 224)


def _photo():
    from PIL import Image

    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8))


@pytest.mark.parametrize("kind", ["list", "dict", "fx"])
def test_the_wrappers_that_script_on_timms_networks_script_on_ours(kind):
    model = timm.create_model("resnest14", features_only=True, feature_cls=kind, **NARROW).eval()
    with torch.no_grad():
        found, expected = torch.jit.script(model)(X), model(X)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_page_about_timm_says_what_is_so():
    (code,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "timm.md").read_text(), re.DOTALL)
    exec(compile(code, "timm.md", "exec"), {})
