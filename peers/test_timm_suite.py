"""timm's own tests of models, run on ours: those over timm's whole registry, and those of single models of timm's.

`make test-peers` fetches timm's source distribution, which comes with them.
"""

import pytest
import timm
from suites import theirs

import resnest
import resnest.timm

pytestmark = pytest.mark.usefixtures("drawn")

NAMES = resnest.list_models()
TAGGED = timm.list_models(module="timm", include_tags=True)

BY_NAME = (
    "test_model_forward",
    "test_model_backward",
    "test_model_default_cfgs_non_std",
    "test_model_load_pretrained",
    "test_model_features_pretrained",
    "test_model_forward_torchscript",
    "test_model_forward_features",
    "test_model_forward_intermediates_features",
    "test_model_forward_intermediates",
    "test_model_forward_fx",
    "test_model_backward_fx",
    "test_model_forward_fx_torchscript",
    "test_prune_intermediate_layers_contract",
    "test_reset_classifier_keeps_pool",
    "test_features_only_grad_checkpointing_backward",
    "test_prune_intermediate_layers_params_used",
    "test_prune_to_stem_feature",
)
"""Tests of a `model_name`: over the whole registry, or over models that timm names."""

WITH_MORE = {
    "test_head_hidden_size": ("model_kwargs", {}),
    "test_forward_intermediates_stop_early_final_norm": ("model_kwargs", {}),
    "test_resnetv2_stem_feature_odd_size": ("model_kwargs", {}),
    "test_model_init_weights_after_to_empty": ("kwargs", {}),
    "test_prune_intermediate_layers_last_feature": ("stop_early_final", True),
}
"""Tests of a `model_name` and something else, and what that is for ours."""


def of_ours(test, names, values):
    """timm's `test`, with `values` of `names` in place of the models that timm has it go over."""
    kept = [mark for mark in test.pytestmark if mark.name != "parametrize" or "model_name" not in mark.args[0]]
    test.pytestmark = [*kept, pytest.mark.parametrize(names, values).mark]
    return test


def model_tests():
    suite = theirs("timm", "tests.test_models")
    yield "cfg_device", suite.cfg_device
    yield "test_model_default_cfgs", of_ours(suite.test_model_default_cfgs, "model_name", TAGGED)
    for name in BY_NAME:
        yield name, of_ours(getattr(suite, name), "model_name", NAMES)
    for name, (word, value) in WITH_MORE.items():
        yield name, of_ours(getattr(suite, name), f"model_name, {word}", [(model, value) for model in NAMES])


globals().update(model_tests())
