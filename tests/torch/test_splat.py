import os
import subprocess
import sys

import pytest
import torch

import resnest.torch
from resnest.torch.layers.splat import weighted_sum
from tests.support.paths import REPOSITORY
from tests.support.specs import tiny


@pytest.mark.parametrize(("radix", "cardinality"), [(1, 2), (2, 1), (3, 2)])
def test_splits_are_weighed_in_their_own_dtype(radix, cardinality):
    x = torch.randn(2, 4 * radix, 3, 3).bfloat16()
    attention = torch.randn(2, 4 * radix, 1, 1)  # float32, as some norms leave it under autocast
    out = weighted_sum(x, attention, radix, cardinality)
    assert out.dtype == torch.bfloat16
    expected = weighted_sum(x.double(), attention.double(), radix, cardinality)
    torch.testing.assert_close(out.double(), expected, atol=5e-2, rtol=5e-2)


@pytest.mark.parametrize("radix", [1, 2, 4])
def test_no_images_have_no_logits(radix):
    spec = tiny(stage_depths=(1, 1, 1, 1), radix=radix, cardinality=2)
    model = resnest.torch.ResNeSt(spec).eval()
    for form in (model, model.deploy()):
        assert form(torch.zeros(0, 3, 64, 64)).shape == (0, spec.num_classes)


TRITON = """
import torch
import triton_splat
from resnest.torch.layers.splat import weighted_sum

for shape in ((2, 48, 5, 7), (1, 256, 9, 3)):  # neither fills its tiles
    x = torch.randn(shape).to(memory_format=torch.channels_last)
    attention = torch.randn(*shape[:2], 1, 1)
    torch.testing.assert_close(triton_splat.weighted_sum(x, attention), weighted_sum(x, attention, 2, 1))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Triton comes with PyTorch on Linux alone")
def test_the_triton_candidate_computes_the_weighted_sum():
    benchmarks = REPOSITORY / "benchmarks"
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(benchmarks)}
    subprocess.run([sys.executable, "-c", TRITON], check=True, env=environment)
