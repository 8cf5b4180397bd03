import dataclasses
from functools import partial

import numpy as np
import pytest

from resnest import ResNeStSpec, get_spec, weights
from resnest.weights.seeded import draw_weights
from tests.support.arrays import photo_like
from tests.support.specs import tiny_segmenter

NARROW = {"stem_width": 8, "bottleneck_width": 8}


def word(backend):
    return "classes" if backend.name == "gluon" else "num_classes"


def test_a_builder_takes_its_frameworks_word_for_the_classes(backend):
    model = backend.module.resnest14(**{word(backend): 3}, **NARROW)
    assert backend.predict(model, photo_like(1, 3, 32, 32, dtype="float32")).shape == (1, 3)


def test_the_word_of_the_other_framework_is_a_type_error_that_names_the_right_one(backend):
    other = {"classes": "num_classes", "num_classes": "classes"}[word(backend)]
    with pytest.raises(TypeError, match=f"resnest50 takes no argument '{other}': here it is {word(backend)}$"):
        backend.module.resnest50(**{other: 3})


def test_create_model_takes_the_specs_words_in_both_backends(backend):
    model = backend.module.create_model("resnest14", num_classes=3, output_stride=16, **NARROW)
    assert model.spec == get_spec("resnest14", num_classes=3, output_stride=16, **NARROW)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("final_dropp", "final_drop"), ("norm_layers", "norm_layer"), ("dilate", "dilated")],
)
def test_a_misspelling_is_a_type_error_that_names_the_right_word(backend, wrong, right):
    with pytest.raises(TypeError, match=f"no argument '{wrong}'.*{right}"):
        backend.module.resnest50(**{wrong: 1})


@pytest.mark.parametrize(
    ("arguments", "output_stride"),
    [({}, 32), ({"dilated": True}, 8), ({"dilation": 2}, 16), ({"dilation": 4}, 8), ({"dilation": 1}, 32)],
)
def test_the_authors_words_for_dilation_mean_what_they_meant(backend, arguments, output_stride):
    assert backend.module.resnest14(**arguments, **NARROW).spec.output_stride == output_stride


def test_a_contradiction_about_dilation_is_refused(backend):
    with pytest.raises(TypeError, match="output_stride=16 and, by dilated or dilation, 8"):
        backend.module.resnest14(dilated=True, output_stride=16)
    with pytest.raises(ValueError, match="dilation=3 must be 1, 2"):
        backend.module.resnest14(dilation=3)


def test_an_unknown_model_is_answered_with_the_closest_names(backend):
    with pytest.raises(ValueError, match=r"no model called 'resnest51'; did you mean resnest50"):
        backend.module.create_model("resnest51")


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".params"])
def test_a_model_is_built_from_a_weight_file(backend, suffix, tmp_path):
    spec = get_spec("resnest14", num_classes=4, **NARROW)
    path = tmp_path / f"tiny{suffix}"
    weights.save(draw_weights(spec), path)
    model = backend.module.create_model("resnest14", weights=path, num_classes=4, **NARROW)
    held = backend.module.get_weights(model)
    assert all((held[name] == array).all() for name, array in draw_weights(spec).items())


@pytest.mark.parametrize("spec", [get_spec("resnest14", num_classes=4, **NARROW), tiny_segmenter()], ids=type)
def test_of_several_networks_in_a_file_the_one_that_is_asked_for_is_taken(backend, spec, tmp_path):
    drawn = draw_weights(spec)
    named = {"teacher": drawn, "student": {name: array * np.float32(0.5) for name, array in drawn.items()}}
    arrays = {f"{who}.{name}": array for who, one in named.items() for name, array in one.items()}
    np.savez(tmp_path / "both.npz", **arrays)
    fields = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec) if field.name != "name"}
    name = "resnest14" if isinstance(spec, ResNeStSpec) else "fcn_resnest101_voc"
    for who, wanted in named.items():
        model = backend.module.create_model(name, weights=tmp_path / "both.npz", which=who, **fields)
        held = backend.module.get_weights(model)
        assert all(np.array_equal(held[name], array) for name, array in wanted.items())
    for other in ({"weights": drawn}, {}):
        with pytest.raises(ValueError, match="which='student' chooses within a weight file"):
            backend.module.create_model(name, which="student", **other, **fields)


def test_weights_of_another_network_are_refused(backend):
    with pytest.raises(ValueError, match=r"not those of resnest14; missing: conv1\.0\.weight"):
        backend.module.create_model("resnest14", weights={"fc.weight": np.zeros((1, 1))}, **NARROW)


def test_a_model_can_be_fed_right_after_it_is_built(backend):
    out = backend.predict(backend.module.resnest14(**NARROW), photo_like(1, 3, 32, 32, dtype="float32"))
    assert np.isfinite(out).all()


def test_norm_layer_builds_every_norm(backend):
    if backend.name == "torch":
        from torch import nn

        model = backend.module.resnest14(norm_layer=partial(nn.BatchNorm2d, eps=0.25), **NARROW)
        found = {module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)}
    else:
        model = backend.module.resnest14(norm_kwargs={"epsilon": 0.25}, **NARROW)
        found = set()
        model.apply(lambda block: found.add(block._kwargs["eps"]) if "eps" in getattr(block, "_kwargs", {}) else None)
    assert found == {0.25}
