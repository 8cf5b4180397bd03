"""Against the other implementations: timm in this process, GluonCV in one without PyTorch."""

import subprocess
import sys

import numpy as np
import pytest
import timm
import torch

from resnest import get_spec
from resnest.backends import registry
from resnest.specs.published import ALIASES
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


NETWORKS = [
    *(get_spec(name) for name in ("resnest14", "resnest26", "resnest50", "resnest101")),
    get_spec("resnest26", output_stride=8),
]

DEEPER = ["resnest200", "resnest269"]


@pytest.mark.gluon
def test_gluoncv_gives_the_same_logits_and_stages(tmp_path):
    """All in one process, whose start takes longer than most networks; of deeper ones it tells the names alone."""
    images = photo_like(2, 3, 65, 49)
    np.save(tmp_path / "images.npy", images)
    names = {f"{spec.name}-{spec.output_stride}": spec for spec in NETWORKS}
    script = [sys.executable, "-m", "tests.support.run_gluoncv"]
    subprocess.run([*script, tmp_path, *names, *DEEPER], check=True, cwd=REPOSITORY)
    for name in DEEPER:
        assert (tmp_path / f"{name}.txt").read_text().split() == sorted(get_spec(name).tensors())
    for name, spec in names.items():
        theirs = np.load(tmp_path / f"{name}.npz")
        weights = draw_weights(spec)
        for backend in ("torch", "gluon"):
            ours = registry.load(backend).run_stages(spec, weights, images)
            far = [relative(a, theirs[key]) for a, key in zip(ours, theirs.files, strict=True)]
            assert len(far) == 6, name
            assert max(far) < 1e-13, (name, backend)
