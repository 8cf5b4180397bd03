"""Folding, without any framework: what the deploy form's spec says and what its weights hold."""

import numpy as np
import pytest

from resnest import get_spec, list_models
from resnest.weights import load, recognise, save
from resnest.weights.fold import fold, in_form_of
from resnest.weights.seeded import draw_weights
from tests.support.arrays import as_dtype
from tests.support.specs import tiny

FORMS = [
    {},
    {"radix": 4, "cardinality": 2},
    {"deep_stem": False, "avg_down": False},
    {"num_classes": 0},
]


@pytest.mark.parametrize("name", list_models())
def test_a_deploy_form_has_a_bias_wherever_there_was_a_norm_and_no_norms(name):
    trained, deployed = get_spec(name), get_spec(name, deploy=True)
    pairs = list(zip(trained.layers(), deployed.layers(), strict=True))
    assert all(ours.name == theirs.name and ours.conv.shape == theirs.conv.shape for ours, theirs in pairs)
    assert all(layer.conv.bias and layer.norm is None for _, layer in pairs)
    assert not any("running" in tensor or ".bn" in tensor for tensor in deployed.tensors())
    assert deployed.cost(224).macs == trained.cost(224).macs
    assert deployed.cost(224).norm_elements == 0


def test_a_folded_convolution_does_what_convolution_and_norm_did():
    weights = as_dtype(draw_weights(tiny()), "float64")
    folded = fold(weights)
    pixels = np.random.default_rng(0).normal(size=weights["layer1.0.conv3.weight"].shape[1])
    out = weights["layer1.0.conv3.weight"][:, :, 0, 0] @ pixels
    norm = {tensor: weights[f"layer1.0.bn3.{tensor}"] for tensor in ("weight", "bias", "running_mean", "running_var")}
    out = (out - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5) * norm["weight"] + norm["bias"]
    ours = folded["layer1.0.conv3.weight"][:, :, 0, 0] @ pixels + folded["layer1.0.conv3.bias"]
    np.testing.assert_allclose(ours, out, rtol=1e-13)


@pytest.mark.parametrize("changes", FORMS)
def test_folded_weights_are_those_of_the_deploy_form_in_its_order(changes):
    spec = tiny(**changes)
    folded = fold(draw_weights(spec))
    expected = tiny(**changes, deploy=True).tensors()
    assert {name: array.shape for name, array in folded.items()} == expected
    assert list(folded) == list(expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_folding_keeps_the_dtype_and_leaves_its_input_alone(dtype):
    weights = as_dtype(draw_weights(tiny()), dtype)
    before = {name: array.copy() for name, array in weights.items()}
    assert {array.dtype for array in fold(weights).values()} == {np.dtype(dtype)}
    assert weights.keys() == before.keys()
    assert all(np.array_equal(weights[name], before[name]) for name in before)


def test_folding_twice_is_folding_once():
    once = fold(draw_weights(tiny()))
    twice = fold(once)
    assert all(np.array_equal(once[name], twice[name]) for name in once)


@pytest.mark.parametrize("changes", FORMS)
def test_the_tensors_tell_which_form_they_are_of(changes):
    spec = tiny(**changes)
    assert not recognise(spec.tensors()).deploy
    found = recognise(tiny(**changes, deploy=True).tensors())
    assert found.deploy
    assert found.tensors() == tiny(**changes, deploy=True).tensors()
    assert recognise(get_spec("resnest50", deploy=True).tensors()) == get_spec("resnest50", deploy=True)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".params", ".pth"])
def test_folded_weights_save_and_load_like_any_others(tmp_path, suffix):
    folded = fold(draw_weights(tiny()))
    save(folded, tmp_path / f"folded{suffix}")
    loaded = load(tmp_path / f"folded{suffix}")
    assert list(loaded) == list(folded)
    assert all(np.array_equal(loaded[name], folded[name]) for name in folded)


def test_half_a_network_is_not_folded():
    weights = draw_weights(tiny())
    del weights["layer2.1.bn1.running_var"]
    with pytest.raises(ValueError, match=r"missing: layer2\.1\.bn1\.running_var"):
        fold(weights)


def test_folded_weights_do_not_fit_a_network_with_norms():
    with pytest.raises(ValueError, match="build it with deploy=True"):
        in_form_of(tiny(), fold(draw_weights(tiny())))
