import logging

import numpy as np
import pytest

from resnest import get_spec, weights
from resnest.weights.adapt import adapt, fresh_classifier, spread
from resnest.weights.seeded import draw_weights, make_weight
from tests.support.backends import Backend

NARROW = {"stem_width": 8, "bottleneck_width": 8}
SPEC = get_spec("resnest14", num_classes=7, **NARROW)


def build(backend, given, **changes):
    return backend.module.create_model("resnest14", weights=given, **NARROW, **changes)


@pytest.mark.parametrize("old", [1, 3, 4])
@pytest.mark.parametrize("new", [1, 2, 3, 4, 5, 6, 13])
def test_an_image_whose_channels_are_alike_gets_the_same_response(old, new):
    weight = make_weight("conv1.0.weight", (8, old, 3, 3))
    adapted = spread(weight, new)
    assert adapted.shape == (8, new, 3, 3)
    assert adapted.dtype == weight.dtype
    np.testing.assert_allclose(adapted.sum(axis=1), weight.sum(axis=1), rtol=1e-5, atol=1e-6)


def test_twice_the_channels_are_the_old_ones_twice_at_half_strength():
    weight = make_weight("conv1.0.weight", (8, 3, 3, 3))
    assert (spread(weight, 6) == np.concatenate([weight, weight], axis=1) / 2).all()


def test_a_fourth_channel_takes_half_of_the_first():
    weight = make_weight("conv1.0.weight", (8, 3, 3, 3))
    adapted = spread(weight, 4)
    assert (adapted[:, 1:3] == weight[:, 1:3]).all()
    assert (adapted[:, [0, 3]] == weight[:, :1] / 2).all()


def test_the_same_number_of_channels_changes_nothing():
    weight = make_weight("conv1.0.weight", (8, 3, 3, 3))
    assert (spread(weight, 3) == weight).all()


def test_a_grey_network_gives_for_a_grey_image_what_the_coloured_one_did(backend):
    grey = np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype(np.float32)
    before = backend.predict(build(backend, draw_weights(SPEC), num_classes=7), np.repeat(grey, 3, axis=1))
    after = backend.predict(build(backend, draw_weights(SPEC), num_classes=7, in_channels=1), grey)
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)


@pytest.mark.torch
@pytest.mark.parametrize("changes", [{"num_classes": 3}, {"num_classes": 3, "in_channels": 5}, {"num_classes": 0}])
@pytest.mark.gluon
def test_both_backends_adapt_to_the_same_numbers(changes):
    first, second = (
        backend.module.get_weights(build(backend, draw_weights(SPEC), **changes))
        for backend in map(Backend, ("torch", "gluon"))
    )
    assert list(first) == list(get_spec("resnest14", **NARROW, **changes).tensors())
    assert all((first[name] == second[name]).all() for name in first)
    assert first.keys() == second.keys()


def test_a_new_classifier_is_said_and_everything_else_stays(backend, caplog):
    model = build(backend, draw_weights(SPEC), num_classes=3)
    assert caplog.messages == ["the classifier for 7 classes gave way to an untrained one for 3"]
    assert caplog.records[0].levelno == logging.WARNING
    found = backend.module.get_weights(model)
    assert found["fc.weight"].shape == (3, 2048)
    assert all((found[name] == array).all() for name, array in draw_weights(SPEC).items() if not name.startswith("fc."))


def test_a_new_classifier_is_the_same_on_every_call_and_as_wide_as_pytorchs():
    first, second = fresh_classifier(SPEC), fresh_classifier(SPEC)
    assert all((first[name] == second[name]).all() for name in first)
    assert first["fc.weight"].max() == pytest.approx(2048**-0.5, rel=1e-3)
    assert first["fc.weight"].min() == pytest.approx(-(2048**-0.5), rel=1e-3)
    assert np.abs(first["fc.bias"]).max() <= 2048**-0.5


def test_weights_without_a_classifier_get_one_where_it_is_asked_for(caplog):
    backbone = {name: array for name, array in draw_weights(SPEC).items() if not name.startswith("fc.")}
    assert adapt(backbone, SPEC, {"num_classes"}).keys() == SPEC.tensors().keys()
    assert adapt(backbone, SPEC, ()).keys() == backbone.keys()  # and is missing where it is not
    assert caplog.messages == ["there is no classifier in these weights: the one for 7 classes is untrained"]


@pytest.mark.parametrize("classes", [{}, {"num_classes": 3}])
def test_a_classifier_of_another_pooling_gives_way(backend, classes, caplog):
    model = build(backend, draw_weights(SPEC), global_pool="catavgmax", **({"num_classes": 7} | classes))
    drawn = backend.module.get_weights(model)["fc.weight"]
    assert drawn.shape == (classes.get("num_classes", 7), 4096)
    assert np.abs(drawn).max() == pytest.approx(4096**-0.5, rel=1e-3)
    assert caplog.messages == ["the classifier for another pooling gave way to an untrained one for 'catavgmax'"]
    both = get_spec("resnest14", num_classes=7, global_pool="catavgmax", **NARROW)
    back = build(backend, draw_weights(both), global_pool="avg", num_classes=7)
    assert backend.module.get_weights(back)["fc.weight"].shape == (7, 2048)
    with pytest.raises(ValueError, match=r"misshaped: fc\.weight is \(7, 4096\)"):
        build(backend, draw_weights(both), num_classes=7)


def test_nothing_is_adapted_unasked(backend):
    with pytest.raises(ValueError, match="have num_classes 7 and resnest14 has 1000: say num_classes=7 to have a netw"):
        build(backend, draw_weights(SPEC))
    with pytest.raises(ValueError, match="have in_channels 1 and resnest14 has 3: say in_channels=1 to have a network"):
        build(backend, draw_weights(get_spec("resnest14", in_channels=1, **NARROW)))


def test_weights_that_fit_are_taken_as_they_are_and_nothing_is_said(backend, caplog):
    found = backend.module.get_weights(build(backend, draw_weights(SPEC), num_classes=7))
    assert all((found[name] == array).all() for name, array in draw_weights(SPEC).items())
    assert caplog.messages == []


def test_a_backbone_needs_no_word_about_classes(backend, caplog):
    build(backend, draw_weights(SPEC), features_only=True)
    build(backend, draw_weights(SPEC), num_classes=0)
    assert caplog.messages == []


@pytest.mark.parametrize("asked", [{}, {"num_classes": 3, "in_channels": 1}])
def test_weights_of_another_network_stay_an_error_that_lists_them(backend, asked):
    with pytest.raises(ValueError, match=r"not those of resnest14; unknown: layer1\.1\.conv1\.weight"):
        build(backend, draw_weights(get_spec("resnest26", num_classes=7, **NARROW)), **{"num_classes": 7} | asked)
    broken = draw_weights(SPEC) | {"fc.weight": np.zeros((7, 5), np.float32)}
    with pytest.raises(ValueError, match=r"misshaped: fc\.weight is \(7, 5\) instead of"):
        build(backend, broken, **{"num_classes": 7} | asked)
    del broken["conv1.0.weight"]
    with pytest.raises(ValueError, match=r"missing: conv1\.0\.weight"):
        build(backend, broken, **{"num_classes": 7} | asked)


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".params", ".pth"])
def test_a_weight_file_is_adapted_too_and_the_model_can_be_trained(backend, suffix, tmp_path):
    weights.save(draw_weights(SPEC), tmp_path / f"seven{suffix}")
    model = build(backend, tmp_path / f"seven{suffix}", num_classes=3, in_channels=1)
    x = np.random.default_rng(0).normal(size=(2, 1, 32, 32)).astype(np.float32)
    before = backend.module.get_weights(model)
    if backend.name == "gluon":
        from resnest.gluon._mxnet import mx

        trainer = mx.gluon.Trainer(model.collect_params(), "sgd", {"learning_rate": 0.1})
        with mx.autograd.record():
            loss = model(backend.array(x)).square().sum()
        loss.backward()
        trainer.step(1)
    else:
        import torch

        model.train()(backend.array(x)).square().sum().backward()
        torch.optim.SGD(model.parameters(), lr=0.1).step()
    after = backend.module.get_weights(model)
    assert all((before[name] != after[name]).any() for name in ("conv1.0.weight", "layer4.0.bn3.weight", "fc.weight"))


def test_arrays_that_are_given_stay_the_callers(backend):
    given = draw_weights(SPEC)
    model = build(backend, given, num_classes=7)
    for array in given.values():
        array += 1
    assert all((backend.module.get_weights(model)[name] == array).all() for name, array in draw_weights(SPEC).items())


@pytest.mark.gluon
def test_a_gradient_is_zero_until_the_first_is_written(tmp_path):
    weights.save(draw_weights(SPEC), tmp_path / "seven.params")
    model = build(Backend("gluon"), tmp_path / "seven.params", num_classes=7)
    for parameter in model.collect_params().values():
        if parameter.grad_req != "null":
            assert parameter.grad().shape == parameter.shape
            assert not parameter.grad().asnumpy().any()
