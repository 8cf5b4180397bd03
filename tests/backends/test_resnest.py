import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from resnest import get_spec, list_models
from resnest.weights.seeded import draw_weights, make_weight
from tests.support.arrays import photo_like, relative
from tests.support.specs import tiny
from tests.support.strategies import specs

few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(specs())
def test_any_spec_builds_a_network_with_exactly_its_tensors(backend, spec):
    model = backend.build(spec)
    assert {name: array.shape for name, array in backend.module.get_weights(model).items()} == spec.tensors()
    assert list(backend.module.get_weights(model)) == list(spec.tensors())


@pytest.mark.parametrize("name", list_models())
def test_a_builder_builds_its_variant(backend, name):
    narrow = {"stem_width": 8, "bottleneck_width": 16}
    model = getattr(backend.module, name)(**narrow)
    assert model.spec == get_spec(name, **narrow)
    shapes = {tensor: array.shape for tensor, array in backend.module.get_weights(model).items()}
    assert shapes == get_spec(name, **narrow).tensors()


def test_weights_go_in_and_come_out_unchanged(backend):
    spec = tiny(radix=4, cardinality=2)
    weights = draw_weights(spec)
    held = backend.module.get_weights(backend.build(spec, weights))
    assert all((held[name] == array).all() for name, array in weights.items())


def test_loading_copies_the_arrays(backend):
    spec = tiny()
    weights = draw_weights(spec)
    model = backend.build(spec, weights)
    weights["fc.bias"][:] = 7
    assert not (backend.module.get_weights(model)["fc.bias"] == 7).any()


def test_a_loaded_model_computes_the_same_as_one_loaded_again(backend):
    spec = tiny()
    model = backend.build(spec)
    x = photo_like(2, 3, 40, 33, dtype="float32")
    before = backend.predict(model, x)
    other = {name: make_weight(f"other {name}", shape) for name, shape in spec.tensors().items()}
    other |= {name: np.abs(array) for name, array in other.items() if name.endswith("running_var")}
    backend.module.load_weights(model, other)
    assert relative(backend.predict(model, x), before) > 1e-3
    backend.module.load_weights(model, draw_weights(spec))
    assert (backend.predict(model, x) == before).all()


def test_tensors_that_do_not_fit_are_listed(backend):
    spec = tiny()
    weights = draw_weights(spec)
    del weights["layer1.0.conv1.weight"]
    weights["layer9.weight"] = np.zeros(3)
    weights["fc.bias"] = np.zeros(6)
    with pytest.raises(ValueError, match="not those of tiny") as error:
        backend.build(spec, weights)
    for complaint in (
        "unknown: layer9.weight",
        "missing: layer1.0.conv1.weight",
        "misshaped: fc.bias is (6,) instead of (5,)",
    ):
        assert complaint in str(error.value)


def test_stages_have_the_shapes_that_the_spec_says(backend):
    spec = tiny(output_stride=16)
    model = backend.build(spec)
    stages = backend.stages(model, photo_like(1, 3, 47, 70, dtype="float32"))
    assert [stage.shape[1:] for stage in stages] == list(spec.cost(47, 70).stages.values())
    assert list(model.feature_channels) == list(spec.feature_channels)
    assert list(model.feature_strides) == [4, 4, 8, 16, 16]


def test_a_backbone_gives_the_maps_asked_for_and_builds_no_more(backend):
    narrow = {"stem_width": 8, "bottleneck_width": 8}
    whole = backend.module.create_model("resnest14", **narrow)
    weights = backend.module.get_weights(whole)
    model = backend.module.create_model("resnest14", features_only=True, out_indices=(0, 2), weights=weights, **narrow)
    x = photo_like(1, 3, 64, 64, dtype="float32")
    stages = backend.stages(whole, x)
    first, second = backend.predict(model, x)
    assert (first == stages[0]).all()
    assert (second == stages[2]).all()
    assert (model.feature_channels, model.feature_strides) == ([16, 512], [4, 8])
    assert not any(name.startswith(("layer3", "layer4", "fc")) for name in backend.module.get_weights(model))


def test_a_backbone_that_ends_early_has_the_modules_of_a_whole_one(backend):
    def modules(model):
        return list(vars(model).get("_modules") or model._children)

    whole = backend.build(tiny(num_classes=0))
    assert modules(backend.module.ResNeStFeatures(tiny(), out_indices=2)) == modules(whole)


def test_a_backbone_has_no_classifier_to_reset(backend):
    with pytest.raises(TypeError, match="has no classifier"):
        backend.module.resnest14(features_only=True).reset_classifier(3)


def test_out_indices_go_with_features_only(backend):
    with pytest.raises(TypeError, match="out_indices goes with features_only=True"):
        backend.module.resnest14(out_indices=(1,))


def test_a_classifier_can_be_reset_and_removed(backend):
    model = backend.build(tiny())
    x = photo_like(2, 3, 33, 33, dtype="float32")
    model.reset_classifier(11)
    assert backend.predict(model, x).shape == (2, 11)
    assert model.spec.num_classes == 11
    model.reset_classifier(0)
    assert backend.predict(model, x).shape == (2, 2048)


def test_a_network_without_a_classifier_gives_pooled_features(backend):
    spec = tiny()
    headless = dataclasses.replace(spec, num_classes=0)
    x = photo_like(2, 3, 33, 33, dtype="float32")
    features = backend.predict(backend.build(headless, draw_weights(spec)), x)
    last = backend.probe.run_stages(spec, draw_weights(spec), x)[4]
    assert relative(features, last.mean((2, 3))) < 1e-6


def test_an_image_alone_in_its_training_batch_is_refused_with_the_way_out(backend):
    model = backend.build(tiny())
    with pytest.raises(ValueError, match="one value per channel") as error:
        backend.train(model, photo_like(1, 3, 64, 64, dtype="float32"))
    assert "SyncBatchNorm" in str(error.value)
    assert "at least two" in str(error.value)
    backend.predict(model, photo_like(1, 3, 64, 64, dtype="float32"))
    backend.train(model, photo_like(2, 3, 64, 64, dtype="float32"))


def test_other_norms_may_see_one_image(backend):
    if backend.name == "torch":
        from torch import nn

        model = backend.module.ResNeSt(tiny(), norm_layer=lambda channels: nn.GroupNorm(4, channels))
    else:
        model = backend.module.ResNeSt(tiny(), use_global_stats=True)
        model.initialize()
    out = backend.train(model, photo_like(1, 3, 64, 64, dtype="float32"))
    assert np.isfinite(out).all()


def test_convolutions_are_drawn_with_the_variance_of_their_fan_out(backend):
    model = backend.module.create_model("resnest14")
    for name, array in backend.module.get_weights(model).items():
        if array.ndim == 4 and array.size > 50_000:
            fan_out = array.shape[0] * array.shape[2] * array.shape[3]
            assert array.std() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), name
            assert abs(array.mean()) < 0.05 * array.std(), name


def test_norms_start_as_the_identity(backend):
    weights = backend.module.get_weights(backend.module.create_model("resnest14", bottleneck_width=8))
    for name, array in weights.items():
        if name.endswith(("running_var", ".bn1.weight", ".bn3.weight")):
            assert (array == 1).all(), name
        if name.endswith(("running_mean", ".bn1.bias", ".bn3.bias")):
            assert (array == 0).all(), name


def test_a_block_by_itself_starts_with_all_its_norms_as_the_identity(backend):
    block = backend.module.Bottleneck(next(tiny().blocks()))
    if backend.name == "gluon":
        block.initialize()
        scales = [block.bn1.gamma.data(), block.bn3.gamma.data()]
    else:
        scales = [block.bn1.weight, block.bn3.weight]
    assert all((backend.numpy(scale) == 1).all() for scale in scales)


def test_last_gamma_starts_every_block_as_its_shortcut(backend):
    weights = backend.module.get_weights(backend.module.create_model("resnest14", bottleneck_width=8, last_gamma=True))
    for name, array in weights.items():
        if name.endswith(".bn3.weight"):
            assert (array == 0).all(), name
        elif name.endswith(".bn1.weight"):
            assert (array == 1).all(), name


def test_nothing_is_dropped_unless_asked_for(backend):
    model = backend.build(tiny())
    ones = np.ones((2, 50), np.float32)
    assert (backend.train(model.drop, ones) == ones).all()


def test_final_drop_works_in_training_only(backend):
    spec = tiny(num_classes=0)
    model = backend.build(spec, final_drop=0.5)
    x = photo_like(2, 3, 64, 64, dtype="float32")
    assert (backend.predict(model, x) == backend.predict(backend.build(spec), x)).all()
    dropped = (backend.train(model, x) == 0).mean()
    assert 0.4 < dropped < 0.75  # some features are zero without it
