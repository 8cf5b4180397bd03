"""The deploy form in both backends: the same numbers without batch norms."""

import dataclasses

import numpy as np
import pytest
from torch import nn

from resnest import ResNeStSpec
from resnest.torch.layers.basic import BatchNorm
from resnest.weights import recognise, save
from resnest.weights.fold import fold
from resnest.weights.seeded import draw_weights, make_input
from tests.support.arrays import as_dtype, relative
from tests.support.backends import Backend

TINY = {"stage_depths": (1, 2, 1, 1), "bottleneck_width": 8, "stem_width": 4, "num_classes": 5}

FORMS = [
    {},
    {"radix": 1},
    {"radix": 4, "cardinality": 2},
    {"deep_stem": False, "avg_down": False},
    {"avd_first": True, "output_stride": 8},
]


def drawn(**changes) -> dict[str, np.ndarray]:
    spec = ResNeStSpec("resnest14", **TINY | changes)
    return as_dtype(draw_weights(spec), "float64")


def build(backend, weights=None, **changes):
    """A tiny model in float64, in eval mode."""
    model = backend.module.create_model("resnest14", **TINY | changes)
    backend.cast(model, "float64")
    if weights is not None:
        backend.module.load_weights(model, weights)
    return model


IMAGES = make_input((2, 3, 64, 50)).astype(np.float64)


@pytest.mark.parametrize("changes", FORMS)
def test_a_deployed_model_predicts_what_the_model_does(backend, changes):
    model = build(backend, drawn(**changes), **changes)
    deployed = model.deploy()
    assert deployed.spec == dataclasses.replace(model.spec, deploy=True)
    assert relative(backend.predict(deployed, IMAGES), backend.predict(model, IMAGES)) < 1e-12


@pytest.mark.parametrize("changes", FORMS)
@pytest.mark.gluon
def test_both_backends_deploy_to_the_same_network(changes):
    torch, gluon = Backend("torch"), Backend("gluon")
    ours, theirs = (build(backend, drawn(**changes), deploy=True, **changes) for backend in (torch, gluon))
    assert relative(torch.predict(ours, IMAGES), gluon.predict(theirs, IMAGES)) < 1e-13
    weights = torch.module.get_weights(ours)
    assert list(weights) == list(gluon.module.get_weights(theirs)) == list(ours.spec.tensors())
    assert recognise({name: array.shape for name, array in weights.items()}).deploy


def test_a_model_is_built_from_unfolded_and_from_folded_weights_and_files(backend, tmp_path):
    weights = drawn()
    save(fold(weights), tmp_path / "folded.safetensors")
    sources = [weights, fold(weights), tmp_path / "folded.safetensors"]
    models = [backend.module.create_model("resnest14", weights=source, deploy=True, **TINY) for source in sources]
    first, *others = (backend.module.get_weights(model) for model in models)
    assert all(np.array_equal(first[name], other[name]) for other in others for name in first)


def test_folded_weights_are_refused_by_a_model_with_norms(backend):
    with pytest.raises(ValueError, match="build it with deploy=True"):
        build(backend, fold(drawn()))


def test_a_backbone_deploys_to_a_backbone(backend):
    weights = drawn()
    model = build(backend, weights, features_only=True, out_indices=(1, 3))
    deployed = model.deploy()
    assert deployed.out_indices == [1, 3]
    assert deployed.feature_channels == model.feature_channels
    for ours, theirs in zip(backend.predict(deployed, IMAGES), backend.predict(model, IMAGES), strict=True):
        assert relative(ours, theirs) < 1e-12


def test_a_deployed_model_deploys_to_its_like(backend):
    deployed = build(backend, drawn()).deploy()
    again = deployed.deploy()
    assert again is not deployed
    assert np.array_equal(backend.predict(again, IMAGES), backend.predict(deployed, IMAGES))


def test_the_norms_own_epsilon_is_folded(backend):
    if backend.name == "torch":
        model = build(backend, drawn(), norm_layer=lambda channels: BatchNorm(channels, eps=0.1))
    else:
        model = build(backend, drawn(), norm_kwargs={"epsilon": 0.1})
    assert relative(backend.predict(model.deploy(), IMAGES), backend.predict(model, IMAGES)) < 1e-12


@pytest.mark.parametrize("option", [{"norm_layer": nn.BatchNorm2d}, {"last_gamma": True}])
def test_options_of_norms_are_refused_where_there_are_none(backend, option):
    with pytest.raises(TypeError, match=f"{next(iter(option))} has nothing to work on"):
        backend.module.create_model("resnest14", deploy=True, **option)


def test_a_deployed_model_gets_a_fresh_classifier(backend):
    deployed = build(backend, drawn()).deploy()
    deployed.reset_classifier(7)
    assert backend.predict(deployed, IMAGES).shape == (2, 7)
