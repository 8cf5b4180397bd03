"""segmentation-models-pytorch's own tests of encoders and of models, run on ours from a checkout of its repository.

`make test-peers` fetches the checkout; what the package index has of the library comes without these tests.
"""

import os

import pytest
import segmentation_models_pytorch as smp
import suites

import resnest
import resnest.smp

EVERY = os.environ.get("RUN_ALL_ENCODERS", "").lower() in ("1", "true", "y", "yes")
"""As in their own tests: all of a kind of encoders, or those that are small."""

NAMES = resnest.list_models() if EVERY else ["resnest14", "resnest50_fast_4s2x40d", "resnest50_fast_1s4x24d"]
MODELS = ("deeplab", "fpn", "linknet", "manet", "pan", "psp", "unet", "unetplusplus", "upernet")


def theirs(module):
    return suites.theirs("smp", module)


class TestEncoders(theirs("tests.encoders.base").BaseEncoderTester):
    encoder_names = NAMES
    default_batch_size = 2  # as theirs of the same kind: in training one image has no variance


@pytest.fixture(autouse=True)
def without_published_weights(monkeypatch):
    """Their tests of models ask for "imagenet", which their encoders have on the hub."""
    create_model = smp.create_model

    def create(*arguments, **options):
        return create_model(*arguments, **{"encoder_weights": None} | options)

    monkeypatch.setattr(smp, "create_model", create)


def model_tests():
    for kind in MODELS:
        for name, tests in vars(theirs(f"tests.models.test_{kind}")).items():
            if name.startswith("Test"):
                changes = {"test_encoder_name": "resnest14", "default_batch_size": 2, "__module__": __name__}
                yield f"Test_{kind}_{name}", type(name, (tests,), changes)


globals().update(model_tests())
