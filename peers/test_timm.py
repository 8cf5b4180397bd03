"""Our networks where others take timm's by a name: mmpretrain, transformers and smp; and timm's own scripts."""

import csv
import runpy
import sys

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from mmpretrain.models import TIMMBackbone
from PIL import Image
from suites import SUITES

import resnest.timm
from resnest.torch import get_weights

pytestmark = pytest.mark.usefixtures("drawn")

NARROW = {"stem_width": 8, "bottleneck_width": 8}
X = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model(drawn):
    return timm.create_model("resnest14", pretrained=True).eval()


def same(maps, others):
    return all(torch.equal(a, b) for a, b in zip(maps, others, strict=True))


def test_mmpretrains_backbone_is_ours(model):
    whole = TIMMBackbone("resnest14", pretrained=True)
    maps = TIMMBackbone("resnest14", features_only=True, pretrained=True, out_indices=(1, 4))
    for backbone in (whole, maps):
        backbone.eval()
    with torch.no_grad():
        expected = model.forward_intermediates(X, [1, 4], intermediates_only=True)
        assert same(whole(X), expected[1:])
        assert same(maps(X), expected)


def test_transformers_backbone_is_ours(model):
    from transformers import TimmBackbone

    backbone = TimmBackbone.from_pretrained("resnest14", out_indices=[1, 4]).eval()
    missing, left_over = backbone._backbone.load_state_dict(model.state_dict(), strict=False)
    assert (missing, left_over) == ([], ["fc.weight", "fc.bias"])
    with torch.no_grad():
        expected = model.forward_intermediates(X, [1, 4], intermediates_only=True)
        assert same(backbone(X).feature_maps, expected)
        backbone.freeze_batch_norm_2d()
        for ours, theirs in zip(backbone.train()(X).feature_maps, expected, strict=True):
            torch.testing.assert_close(ours, theirs)
    assert backbone.channels == [256, 2048]


def test_transformers_classifier_is_ours_and_is_saved(tmp_path):
    from transformers import TimmWrapperConfig, TimmWrapperForImageClassification

    config = TimmWrapperConfig(architecture="resnest14", num_labels=5, model_args=NARROW)
    wrapper = TimmWrapperForImageClassification(config).eval()
    wrapper.save_pretrained(tmp_path)
    again = TimmWrapperForImageClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        logits = wrapper(X).logits
        assert torch.equal(again(X).logits, logits)
    assert logits.shape == (2, 5)


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_smps_encoders_of_timms_names_are_ours(depth, model):
    encoder = smp.encoders.get_encoder("tu-resnest14", weights="imagenet", depth=depth).eval()
    with torch.no_grad():
        image, *maps = encoder(X)
        assert same(maps, model.forward_intermediates(X, list(range(depth)), intermediates_only=True))
    assert image is X


@pytest.mark.parametrize("output_stride", [8, 16])
def test_smps_models_on_them_script(output_stride):
    model = smp.DeepLabV3Plus("tu-resnest14", encoder_weights=None, encoder_output_stride=output_stride).eval()
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.script(model)(x), model(x))


@pytest.fixture
def photos(tmp_path):
    """Two classes, dark red and dark blue."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 8), ("validation", 4)):
        for channel, name in ((0, "red"), (2, "blue")):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 60, (48, 64, 3), np.uint8)
                pixels[..., channel] += 150
                Image.fromarray(pixels).save(tmp_path / "photos" / split / name / f"{index}.png")
    return tmp_path / "photos"


def run(script, monkeypatch, **options):
    """timm's `script` in this process, where our networks are registered."""
    path = SUITES / "timm-scripts" / f"{script}.py"
    if not path.exists():
        pytest.skip(f"timm's scripts are not in {path.parent}")
    words = ["--model", "resnest14", "--model-kwargs", *(f"{key}={value}" for key, value in NARROW.items())]
    words += ["--num-classes", "2", "--device", "cpu", "--workers", "0", "--input-size", "3", "64", "64"]
    for option, value in options.items():
        words += [f"--{option.replace('_', '-')}", *([] if value is True else [str(value)])]
    monkeypatch.setattr(sys, "argv", [str(path), *words])
    runpy.run_path(str(path), run_name="__main__")


def test_timms_scripts_train_and_validate_ours(photos, monkeypatch, tmp_path):
    run(
        "train",
        monkeypatch,
        data_dir=photos,
        batch_size=4,
        opt="sgd",
        lr=0.01,
        warmup_epochs=0,
        epochs=1,
        cooldown_epochs=0,
        drop_path=0.1,
        model_ema=True,
        grad_checkpointing=True,
        output=tmp_path / "out",
        experiment="ours",
    )
    (row,) = csv.DictReader((tmp_path / "out" / "ours" / "summary.csv").open())
    trained = tmp_path / "out" / "ours" / "last.pth.tar"
    results = tmp_path / "results.csv"
    run("validate", monkeypatch, data_dir=photos, split="validation", checkpoint=trained, results_file=results)
    (found,) = csv.DictReader(results.open())
    assert float(found["top1"]) in (0, 12.5, 25, 37.5, 50, 62.5, 75, 87.5, 100)
    weights = resnest.weights.load(trained, which="model")
    assert float(row["train_loss"]) < 5
    assert weights.keys() == get_weights(timm.create_model("resnest14", num_classes=2, **NARROW)).keys()
