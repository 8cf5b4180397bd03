"""What was done to a network after it was built counts, wherever it is built again from its spec."""

import dataclasses
from functools import partial

import numpy as np
import pytest

from resnest.weights.seeded import draw_weights
from tests.support.arrays import photo_like, relative
from tests.support.specs import TINY_BACKBONE, tiny, tiny_segmenter

SPEC = tiny(stage_depths=(1, 1, 1, 1))
IMAGES = photo_like(2, 3, 64, 64, dtype="float32")


def with_own_norms(backend, eps, momentum):
    """A network whose norm layer brings numbers of its own."""
    if backend.name == "torch":
        from torch import nn

        return backend.build(SPEC, norm_layer=partial(nn.BatchNorm2d, eps=eps, momentum=momentum))
    return backend.build(SPEC, norm_kwargs={"epsilon": eps, "momentum": 1 - momentum})


def set_eps(backend, norm, eps):
    if backend.name == "torch":
        norm.eps = eps
    else:
        norm._kwargs["eps"] = eps


def replace(backend, model, name, module):
    """Put another module in the place of `name`, as users do."""
    if backend.name == "gluon":
        delattr(model, name)  # Gluon lets no attribute change its type
    setattr(model, name, module)


def dense(backend, classes):
    if backend.name == "torch":
        from torch import nn

        return nn.Linear(SPEC.feature_channels[-1], classes)
    from resnest.gluon._mxnet import mx

    layer = mx.gluon.nn.Dense(classes, in_units=SPEC.feature_channels[-1])
    layer.initialize()
    return layer


def test_the_spec_says_what_norms_compute_with(backend):
    spec = dataclasses.replace(SPEC, norm_eps=0.1, norm_momentum=0.3)
    norms = backend.module.weights.norms(backend.build(spec))
    assert list(norms) == [layer.norm for layer in spec.layers() if layer.norm]
    assert all(numbers == {"norm_eps": 0.1, "norm_momentum": 0.3} for numbers in norms.values())


def test_a_norm_layer_with_numbers_of_its_own_changes_the_spec(backend):
    assert with_own_norms(backend, 0.1, 0.3).spec == dataclasses.replace(SPEC, norm_eps=0.1, norm_momentum=0.3)


def test_an_epsilon_changes_what_is_predicted_and_travels_with_the_folder(backend, tmp_path):
    model = with_own_norms(backend, 0.1, 0.3)
    before = backend.predict(model, IMAGES)
    assert relative(backend.predict(backend.build(SPEC), IMAGES), before) > 0.01
    model.save_pretrained(tmp_path)
    opened = backend.module.ResNeSt.from_pretrained(tmp_path)
    assert opened.spec == model.spec
    assert relative(backend.predict(opened, IMAGES), before) < 1e-6


def test_running_statistics_move_by_the_specs_momentum(backend):
    weights = draw_weights(SPEC)
    moved = []
    for momentum in (0.1, 0.5):
        spec = dataclasses.replace(SPEC, norm_momentum=momentum)
        _, _, statistics = backend.probe.run_training_step(spec, weights, IMAGES, np.zeros(2, int))
        moved.append(statistics["bn1.running_mean"] - weights["bn1.running_mean"])
    assert np.abs(moved[0]).max() > 0.01
    np.testing.assert_allclose(moved[1], moved[0] * 5, rtol=1e-4, atol=1e-6)


def test_an_epsilon_set_on_one_norm_is_folded_and_no_folder_says_it(backend, tmp_path):
    model = backend.build(SPEC)
    set_eps(backend, model.layer1[0].bn1, 0.5)
    expected = backend.predict(model, IMAGES)
    assert relative(backend.predict(backend.build(SPEC), IMAGES), expected) > 1e-3
    assert relative(backend.predict(model.deploy(), IMAGES), expected) < 1e-5
    with pytest.raises(ValueError, match=r"norm_eps=0\.5 .*weights alone"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_classifier_of_another_size_is_saved_and_deployed_as_it_is(backend, tmp_path):
    model = backend.build(SPEC)
    replace(backend, model, "fc", dense(backend, 7))
    expected = backend.predict(model, IMAGES)
    model.save_pretrained(tmp_path)
    opened = backend.module.ResNeSt.from_pretrained(tmp_path)
    assert opened.spec.num_classes == 7
    for other in (opened, model.deploy()):
        assert relative(backend.predict(other, IMAGES), expected) < 1e-5


@pytest.mark.parametrize("name", ["maxpool", "fc"])
def test_a_module_that_no_spec_says_is_refused_by_its_name(backend, name, tmp_path):
    model = backend.build(SPEC)
    replace(backend, model, name, backend.face.identity())
    for again in (model.deploy, partial(model.save_pretrained, tmp_path)):
        with pytest.raises(ValueError, match=f"^{name} is .*Identity.* where tiny has"):
            again()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["relu", "conv1"])
def test_a_subclass_that_computes_something_else_is_refused(backend, name, tmp_path):
    """A weight-standardised convolution, say: its kind and its tensors are those of the spec."""
    model = backend.build(tiny(stage_depths=(1, 1, 1, 1), deep_stem=False))
    module = getattr(model, name)
    kind = type(module)
    forward = "forward" if backend.name == "torch" else "hybrid_forward"
    own = {forward: lambda self, *inputs, **arrays: getattr(kind, forward)(self, *inputs, **arrays) * 2}
    module.__class__ = type("Doubled", (kind,), {})
    expected = backend.predict(model, IMAGES)
    assert relative(backend.predict(model.deploy(), IMAGES), expected) < 1e-5  # a subclass alone does not matter
    module.__class__ = type("Doubled", (kind,), own)
    assert relative(backend.predict(model, IMAGES), expected) > 0.01
    for again in (model.deploy, partial(model.save_pretrained, tmp_path)):
        with pytest.raises(ValueError, match=f"^{name} is Doubled.* where tiny has"):
            again()
    assert not list(tmp_path.iterdir())


def test_a_first_convolution_with_another_stride_is_refused(backend):
    spec = tiny(stage_depths=(1, 1, 1, 1), deep_stem=False)
    model = backend.build(spec)
    if backend.name == "torch":
        model.conv1.stride = (1, 1)
    else:
        model.conv1._kwargs["stride"] = (1, 1)
    with pytest.raises(ValueError, match="conv1 is Conv"):
        model.deploy()


def test_dropblock_and_dropout_are_no_obstacle(backend, tmp_path):
    model = backend.build(SPEC, dropblock_prob=0.1, final_drop=0.2)
    expected = backend.predict(model, IMAGES)
    model.save_pretrained(tmp_path)
    assert relative(backend.predict(model.deploy(), IMAGES), expected) < 1e-5


def test_a_subclass_with_arguments_of_its_own_says_how_it_is_built(backend):
    class Wider(backend.module.ResNeSt):
        def __init__(self, width):
            super().__init__(dataclasses.replace(SPEC, bottleneck_width=width))

    model = Wider(8)
    backend.module.load_weights(model, draw_weights(SPEC))
    with pytest.raises(ValueError, match=r"Wider cannot be built from a spec .*from_spec"):
        model.deploy()
    Wider.from_spec = classmethod(lambda cls, spec, **options: backend.module.ResNeSt(spec, **options))
    assert relative(backend.predict(model.deploy(), IMAGES), backend.predict(model, IMAGES)) < 1e-5


def test_a_segmenters_heads_have_its_backbones_norms(backend):
    spec = tiny_segmenter("psp", backbone=dataclasses.replace(TINY_BACKBONE, norm_eps=0.25))
    norms = backend.module.weights.norms(backend.build(spec))
    assert {numbers["norm_eps"] for numbers in norms.values()} == {0.25}
    assert any(name.startswith("decode_head") for name in norms)
