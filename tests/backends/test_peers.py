"""Against the other implementations: timm in this process, GluonCV in one without PyTorch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from resnest import get_spec
from resnest.specs.resnest import ALIASES
from resnest.torch import ResNeSt, load_weights
from resnest.torch.backend import run_stages
from resnest.weights.seeded import draw_weights
from tests.support.arrays import photo_like, relative
from tests.support.paths import REPOSITORY


@pytest.mark.parametrize("name", ALIASES)
def test_timm_gives_the_same_logits_and_stages(name):
    spec = get_spec(name)
    weights = draw_weights(spec)
    peer = timm.create_model(name)
    peer.load_state_dict({tensor: torch.from_numpy(array) for tensor, array in weights.items()})
    peer.double().eval()
    images = photo_like(2, 3, 65, 97)
    with torch.no_grad():
        stages = peer.forward_intermediates(torch.from_numpy(images), indices=[1, 2, 3, 4], intermediates_only=True)
        logits = peer(torch.from_numpy(images))
    ours = run_stages(spec, weights, images)
    assert [relative(a, b.numpy()) < 1e-13 for a, b in zip(ours[1:], [*stages, logits], strict=True)] == [True] * 5


@pytest.mark.parametrize("name", ["resnest14d", "resnest50d_4s2x40d"])
def test_timm_takes_the_same_gradients(name):
    weights = draw_weights(get_spec(name))
    peer = timm.create_model(name)
    peer.load_state_dict({tensor: torch.from_numpy(array) for tensor, array in weights.items()})
    ours = ResNeSt(get_spec(name))
    load_weights(ours, weights)
    images = torch.from_numpy(photo_like(4, 3, 64, 64))
    for model in (peer, ours):
        model.double().train()
        torch.nn.functional.cross_entropy(model(images), torch.arange(4)).backward()
    theirs = dict(peer.named_parameters())
    for tensor, parameter in ours.named_parameters():
        scale = theirs[tensor.replace("fc1.bias", "fc1.weight")].grad.abs().max()
        assert (parameter.grad - theirs[tensor].grad).abs().max() < 1e-11 * scale, tensor


@pytest.mark.gluon
@pytest.mark.parametrize("name", ["resnest14", "resnest26", "resnest50", "resnest101", "resnest200", "resnest269"])
def test_gluoncv_gives_the_same_logits_and_stages(name, tmp_path):
    compare_with_gluoncv(name, tmp_path, output_stride=32)


@pytest.mark.gluon
def test_gluoncv_gives_the_same_logits_and_stages_dilated(tmp_path):
    compare_with_gluoncv("resnest26", tmp_path, output_stride=8)


def compare_with_gluoncv(name: str, folder: Path, output_stride: int) -> None:
    from resnest.gluon import backend as probe

    images = photo_like(2, 3, 65, 49)
    np.save(folder / "images.npy", images)
    arguments = [name, str(output_stride), folder / "images.npy", folder / "outputs.npz"]
    script = [sys.executable, "-m", "tests.support.run_gluoncv"]
    subprocess.run([*script, *arguments], check=True, cwd=REPOSITORY)
    theirs = np.load(folder / "outputs.npz")
    spec = get_spec(name, output_stride=output_stride)
    weights = draw_weights(spec)
    for run in (run_stages, probe.run_stages):
        ours = run(spec, weights, images)
        assert [relative(a, theirs[key]) < 1e-13 for a, key in zip(ours, theirs.files, strict=True)] == [True] * 6
