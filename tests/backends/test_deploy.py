"""The deploy form in both backends: the same numbers without batch norms."""

import dataclasses
import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import resnest.torch
from resnest import ResNeStSpec
from resnest.torch.layers.basic import BatchNorm
from resnest.torch.layers.splat import weighted_sum
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


def test_a_model_without_running_statistics_does_not_deploy():
    with pytest.raises(ValueError, match=r"the norms here are GroupNorm"):
        build(Backend("torch"), norm_layer=lambda channels: nn.GroupNorm(4, channels)).deploy()


@pytest.mark.parametrize("option", [{"norm_layer": nn.BatchNorm2d}, {"last_gamma": True}])
def test_options_of_norms_are_refused_where_there_are_none(backend, option):
    with pytest.raises(TypeError, match=f"{next(iter(option))} has nothing to work on"):
        backend.module.create_model("resnest14", deploy=True, **option)


def test_a_deployed_model_gets_a_fresh_classifier(backend):
    deployed = build(backend, drawn()).deploy()
    deployed.reset_classifier(7)
    assert backend.predict(deployed, IMAGES).shape == (2, 7)


@pytest.mark.parametrize("radix", [1, 2, 4])
def test_a_deployed_torch_model_scripts_traces_and_compiles(radix):
    backend = Backend("torch")
    deployed = build(backend, drawn(radix=radix), radix=radix).deploy()
    expected = backend.predict(deployed, IMAGES)
    images = torch.from_numpy(IMAGES)
    for compiled in (torch.jit.script(deployed), torch.jit.trace(deployed, images)):
        buffer = io.BytesIO()
        torch.jit.save(compiled, buffer)
        buffer.seek(0)
        assert relative(torch.jit.load(buffer)(images).detach().numpy(), expected) < 1e-12
    batch, height, width = (torch.export.Dim.AUTO for _ in range(3))
    program = torch.export.export(deployed, (images,), dynamic_shapes=({0: batch, 2: height, 3: width},))
    other = torch.from_numpy(make_input((3, 3, 71, 38)).astype(np.float64))
    with torch.no_grad():
        assert relative(program.module()(other).numpy(), deployed(other).numpy()) < 1e-12


@pytest.mark.gluon
def test_gluon_optimizes_for_onednn():
    backend = Backend("gluon")
    weights = {name: array.astype(np.float32) for name, array in drawn().items()}
    model = backend.module.create_model("resnest14", weights=weights, **TINY)
    images = IMAGES.astype(np.float32)
    optimized = backend.module.optimize(model, backend.array(images))
    assert relative(backend.predict(optimized, images), backend.predict(model, images)) < 1e-5


def test_torch_optimizes_to_a_package_that_the_next_process_loads(tmp_path):
    weights = {name: array.astype(np.float32) for name, array in drawn().items()}
    model = resnest.torch.create_model("resnest14", weights=weights, **TINY).eval()
    images = torch.from_numpy(IMAGES.astype(np.float32))
    with torch.no_grad():
        expected = model(images).numpy()
    compiled = resnest.torch.optimize(model, images, tmp_path / "tiny.pt2")
    assert relative(compiled(images).numpy(), expected) < 1e-5
    loaded = torch._inductor.aoti_load_package(str(tmp_path / "tiny.pt2"))
    assert relative(loaded(images.to(memory_format=torch.channels_last)).numpy(), expected) < 1e-5


def test_a_package_has_its_own_suffix(tmp_path):
    model = resnest.torch.create_model("resnest14", **TINY)
    with pytest.raises(ValueError, match=r"does not end with \.pt2"):
        resnest.torch.optimize(model, torch.zeros(1, 3, 64, 64), tmp_path / "tiny.pt")


@pytest.mark.parametrize(("radix", "cardinality"), [(1, 2), (2, 1), (3, 2)])
def test_splits_are_weighed_in_their_own_dtype(radix, cardinality):
    x = torch.randn(2, 4 * radix, 3, 3).bfloat16()
    attention = torch.randn(2, 4 * radix, 1, 1)  # float32, as some norms leave it under autocast
    out = weighted_sum(x, attention, radix, cardinality)
    assert out.dtype == torch.bfloat16
    expected = weighted_sum(x.double(), attention.double(), radix, cardinality)
    torch.testing.assert_close(out.double(), expected, atol=5e-2, rtol=5e-2)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to keep memory")
def test_memory_that_a_feature_map_freed_is_kept_for_the_next():
    code = """
import resource, torch
from resnest.torch.deploy import keep_freed_memory
keep_freed_memory()
for number in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(64, 2**18)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(faults) < 1000  # of the 16384 pages of 64 MiB
