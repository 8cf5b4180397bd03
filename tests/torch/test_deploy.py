"""The deploy form in PyTorch: what it scripts, traces and exports to."""

import io

import numpy as np
import pytest
import torch
from torch import nn

from resnest.weights.seeded import make_input
from tests.support.arrays import photo_like, relative
from tests.support.backends import Backend
from tests.support.specs import tiny


def test_a_model_without_running_statistics_does_not_deploy():
    with pytest.raises(ValueError, match=r"the norms here are GroupNorm"):
        Backend("torch").module.ResNeSt(tiny(), norm_layer=lambda channels: nn.GroupNorm(4, channels)).deploy()


IMAGES = photo_like(2, 3, 64, 50)


@pytest.mark.parametrize(("radix", "layout"), [(1, "contiguous_format"), (2, "channels_last"), (4, "channels_last")])
def test_a_deployed_torch_model_scripts_traces_and_compiles(radix, layout):
    backend = Backend("torch")
    deployed = backend.build(tiny(radix=radix), dtype="float64").deploy()
    expected = backend.predict(deployed, IMAGES)
    images = torch.from_numpy(IMAGES)
    for compiled in (torch.jit.script(deployed), torch.jit.trace(deployed, images)):
        buffer = io.BytesIO()
        torch.jit.save(compiled, buffer)
        buffer.seek(0)
        assert relative(torch.jit.load(buffer)(images).detach().numpy(), expected) < 1e-12
    # With names, below PyTorch 2.9, it asks for proofs that it cannot find.
    named = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height", min=33), 3: torch.export.Dim("width", min=33)}
    sizes = named if torch.__version__ >= (2, 9) else dict.fromkeys(named, torch.export.Dim.AUTO)
    deployed.to(memory_format=getattr(torch, layout))
    program = torch.export.export(deployed, (images,), dynamic_shapes=(sizes,))
    other = torch.from_numpy(make_input((3, 3, 71, 38)).astype(np.float64))
    with torch.no_grad():
        assert relative(program.module()(other).numpy(), deployed(other).numpy()) < 1e-12


def test_on_a_cpu_the_deploy_form_computes_channels_last_whatever_the_images_are():
    model = Backend("torch").build(tiny()).deploy()
    assert model.conv1[0].weight.is_contiguous(memory_format=torch.channels_last)
    stem = model.forward_stem(torch.rand(2, 3, 64, 64))
    assert stem.is_contiguous(memory_format=torch.channels_last)
