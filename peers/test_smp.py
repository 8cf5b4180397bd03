"""Our backbones as encoders of segmentation-models-pytorch."""

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

import resnest.smp
from resnest.torch import create_model, get_weights, load_weights
from resnest.weights.seeded import make_weight

SMALL = "resnest14"


def encoder(**changes):
    return smp.encoders.get_encoder(SMALL, **{"weights": None} | changes)


@pytest.mark.parametrize(
    "build",
    [
        lambda: smp.DeepLabV3Plus(SMALL, encoder_weights=None, encoder_output_stride=16, classes=5),
        lambda: smp.DeepLabV3Plus(SMALL, encoder_weights=None, encoder_output_stride=8, classes=5),
        lambda: smp.DeepLabV3(SMALL, encoder_weights=None, classes=5),
        lambda: smp.PSPNet(SMALL, encoder_weights=None, classes=5),
        lambda: smp.Unet(SMALL, encoder_weights=None, classes=5),
        lambda: smp.FPN(SMALL, encoder_weights=None, classes=5, in_channels=4),
    ],
    ids=["deeplabv3plus-16", "deeplabv3plus-8", "deeplabv3-8", "pspnet", "unet", "fpn-4-channels"],
)
def test_models_run_forward_and_backward_on_our_encoder(build):
    model = build().train()
    channels = model.encoder.conv1[0].in_channels
    x = torch.randn(2, channels, 64, 96)
    logits = model(x)
    assert logits.shape == (2, 5, 64, 96)
    logits.square().mean().backward()
    gradients = {name: p.grad for name, p in model.encoder.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_an_encoder_honours_its_depth(depth):
    model = encoder(depth=depth)
    maps = model(torch.zeros(2, 3, 64, 64))
    assert len(maps) == depth + 1
    assert [one.shape[1] for one in maps] == model.out_channels
    assert [one.shape[-1] for one in maps] == [64 // 2**level for level in range(depth + 1)]


@pytest.mark.parametrize(("output_stride", "sizes"), [(16, [64, 32, 16, 8, 4, 4]), (8, [64, 32, 16, 8, 8, 8])])
def test_a_dilated_encoder_is_the_dilated_network(output_stride, sizes):
    model = encoder(output_stride=output_stride).eval()
    x = torch.randn(2, 3, 64, 64)
    dilated = create_model(SMALL, features_only=True, output_stride=output_stride).eval()
    load_weights(dilated, get_weights(model))
    with torch.no_grad():
        maps = model(x)
        assert [one.shape[-1] for one in maps] == sizes
        for ours, expected in zip(maps[2:], dilated(x), strict=True):
            assert torch.equal(ours, expected)
    assert model.output_stride == output_stride


def test_an_encoder_dilated_later_keeps_its_weights():
    model = encoder().double()
    before = get_weights(model)
    model.make_dilated(8)
    after = get_weights(model)
    assert all((before[name] == after[name]).all() for name in before)
    assert model(torch.zeros(2, 3, 64, 64, dtype=torch.float64))[-1].shape[-1] == 8


def test_weights_load_into_an_encoder_as_into_any_model():
    model = smp.Unet("resnest14", encoder_weights=None)
    arrays = {name: make_weight(name, shape) for name, shape in resnest.get_spec("resnest14").tensors().items()}
    load_weights(model.encoder, arrays)
    assert torch.equal(model.encoder.bn1.weight, torch.from_numpy(arrays["bn1.weight"]))


def test_every_network_is_registered():
    assert set(resnest.list_models()) <= set(smp.encoders.get_encoder_names())


@pytest.mark.parametrize(
    ("changes", "message"), [({"depth": 6}, "depth=6 must be 1"), ({"output_stride": 4}, "output_stride=4 must be")]
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        encoder(**changes)


def test_a_network_dilated_later_trains_and_freezes_what_it_did_before():
    model = nn.SyncBatchNorm.convert_sync_batchnorm(encoder()).eval()
    model.conv1.requires_grad_(False)
    model.layer3.train()
    before = {name: (module.training, type(module)) for name, module in model.named_modules() if has_numbers(module)}
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    model.make_dilated(16)
    assert {
        name: (module.training, type(module)) for name, module in model.named_modules() if has_numbers(module)
    } == before
    assert {name for name, parameter in model.named_parameters() if parameter.requires_grad} == learning
    assert not any(module.training for module in model.layer4.modules())
    assert all(module.training for module in model.layer3.modules())


def has_numbers(module):
    return next(module.parameters(recurse=False), None) is not None


@pytest.mark.parametrize(
    "build",
    [
        lambda: smp.Unet(SMALL, encoder_weights=None, classes=5),
        lambda: smp.Unet(SMALL, encoder_weights=None, classes=5, encoder_depth=3, decoder_channels=(64, 32, 16)),
        lambda: smp.DeepLabV3Plus(SMALL, encoder_weights=None, encoder_output_stride=8, classes=5),
        lambda: smp.FPN("resnest50_fast_4s2x40d", encoder_weights=None, classes=5),
    ],
    ids=["unet", "unet-3", "deeplabv3plus-8", "fpn-radix-4"],
)
def test_a_model_on_our_encoder_scripts(build, tmp_path):
    model = build().eval()
    torch.jit.script(model).save(tmp_path / "a.pt")
    scripted = torch.jit.load(tmp_path / "a.pt")
    for size in ((64, 64), (96, 64)):
        x = torch.rand(2, 3, *size)
        with torch.no_grad():
            torch.testing.assert_close(scripted(x), model(x))


def test_the_deploy_form_of_an_encoder_gives_its_maps():
    model = encoder(depth=4, output_stride=16, in_channels=4).eval()
    x = torch.rand(2, 4, 64, 64)
    with torch.no_grad():
        for ours, expected in zip(model.deploy()(x), model(x), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
