"""timm's contract: its words and methods, on every backend, and the parts of the spec that came with them."""

import dataclasses
from math import erf

import numpy as np
import pytest

from resnest import get_spec
from resnest.backends.contract import default_cfg
from resnest.specs.blocks import ACTIVATIONS, GLOBAL_POOLS
from resnest.weights.seeded import draw_weights
from tests.support.arrays import photo_like, relative
from tests.support.specs import tiny

IMAGES = photo_like(2, 3, 64, 96)

EXACT = {
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: x * (1 + np.vectorize(erf)(x * 0.5**0.5)) / 2,
}


def double(backend, spec, **options):
    return backend.build(spec, dtype="float64", **options)


def test_features_and_head_make_the_network(backend):
    model = double(backend, tiny())
    logits = backend.predict(model, IMAGES)

    def parts(x):
        features = model.forward_features(x)
        return [features, model.forward_head(features), model.forward_head(features, pre_logits=True)]

    features, head, pooled = backend.numpy(backend.face.predict(model, parts, backend.array(IMAGES)))
    assert features.shape == (2, model.num_features, 2, 3)
    assert pooled.shape == (2, model.head_hidden_size) == (2, 2048)
    assert relative(head, logits) < 1e-14
    assert relative(pooled, features.mean((2, 3))) < 1e-14


@pytest.mark.parametrize(
    ("indices", "wanted"),
    [(None, [0, 1, 2, 3, 4]), (2, [3, 4]), ([3, 0], [3, 0]), ([-1, -5], [4, 0]), ([1], [1])],
    ids=str,
)
@pytest.mark.parametrize("stop_early", [False, True])
def test_intermediates_are_the_maps_asked_for_in_their_order(backend, indices, wanted, stop_early):
    model = double(backend, tiny())
    stages = backend.stages(model, IMAGES)
    info = model.feature_info

    def call(x):
        last, maps = model.forward_intermediates(x, indices, stop_early=stop_early)
        return [last, *maps]

    last, *maps = backend.numpy(backend.face.predict(model, call, backend.array(IMAGES)))
    for index, found in zip(wanted, maps, strict=True):
        row = info[index]
        assert found.shape == (2, row["num_chs"], 64 // row["reduction"], 96 // row["reduction"])
        if index:
            assert relative(found, stages[index]) < 1e-14
    assert relative(last, stages[max(wanted) if stop_early and max(wanted) else 4 if not stop_early else 0]) < 1e-14


def test_intermediates_refuse_what_there_is_not(backend):
    model = double(backend, tiny())
    for wrong in ([5], [-6], [1, 1], [], 6, 1.5, "1"):
        with pytest.raises(ValueError, match=r"^indices=.* must be different numbers"):
            model.forward_intermediates(backend.array(IMAGES), wrong)
        with pytest.raises(ValueError, match=r"^indices=.* must be different numbers"):
            model.prune_intermediate_layers(wrong)
    assert model.last_stage == 4
    with pytest.raises(ValueError, match="output_fmt='NHWC': feature maps come as NCHW"):
        model.forward_intermediates(backend.array(IMAGES), output_fmt="NHWC")


@pytest.mark.parametrize("last", [0, 2, 4])
def test_a_pruned_network_ends_with_the_last_map_that_is_kept(backend, last):
    model = double(backend, tiny())
    stages = backend.stages(model, IMAGES)
    before = len(backend.module.weights.canonical_names(model)) if last == 4 else 0
    assert model.prune_intermediate_layers([0, last] if last else [0]) == ([0, last] if last else [0])
    assert (model.num_classes, model.num_features) == (0, tiny().feature_channels[last])
    out = backend.predict(model, IMAGES)
    if last:
        assert relative(out, stages[last]) < 1e-14
    else:
        assert out.shape == (2, 16, 32, 48)
    if last == 4:
        assert len(backend.module.weights.canonical_names(model)) == before - 2
    else:
        with pytest.raises(ValueError, match="of a network that ends with"):
            model.forward_intermediates(backend.array(IMAGES), [4])


@pytest.mark.parametrize(("pool", "width"), [("avg", 512), ("catavgmax", 1024)])
def test_a_pruned_network_gets_a_classifier_of_the_map_that_it_ends_with(backend, pool, width):
    model = double(backend, tiny())
    stages = backend.stages(model, IMAGES)
    model.prune_intermediate_layers([2])
    model.reset_classifier(7, pool)
    weights = backend.module.get_weights(model)
    assert model.head_hidden_size == width
    assert weights["fc.weight"].shape == (7, width)
    pooled = [stages[2].mean((2, 3)), stages[2].max((2, 3))][: width // 512]
    expected = np.concatenate(pooled, 1) @ weights["fc.weight"].T + weights["fc.bias"]
    assert relative(backend.predict(model, IMAGES), expected) < 1e-13


def test_a_pruned_network_is_not_saved_as_the_whole_one_and_a_short_sentence_says_why(backend, tmp_path):
    model = backend.build(tiny())
    model.prune_intermediate_layers([2])
    for action in (model.deploy, lambda: model.save_pretrained(tmp_path / "folder")):
        with pytest.raises(ValueError, match=r"^layer3 is .* where tiny has .* \.\.\., and what is built") as error:
            action()
        assert len(str(error.value)) < 500
    assert not [*tmp_path.rglob("*.*")]


def test_a_backbone_gives_its_maps_in_the_order_asked(backend):
    weights = draw_weights(dataclasses.replace(tiny(), num_classes=0))
    build = {"stage_depths": (1, 2, 1, 1), "bottleneck_width": 8, "stem_width": 8, "weights": weights}
    model = backend.module.create_model("resnest14", features_only=True, out_indices=(4, 1, -3), **build)
    again = backend.module.create_model("resnest14", features_only=True, out_indices=(1, 2, 4), **build)
    x = IMAGES.astype(np.float32)
    fourth, first, second = backend.predict(model, x)
    assert all((a == b).all() for a, b in zip((first, second, fourth), backend.predict(again, x)))
    assert model.feature_info.channels() == [2048, 256, 512] == model.feature_channels
    assert model.feature_info.reduction() == [32, 4, 8] == model.feature_strides
    assert model.feature_info.module_name() == ["layer4", "layer1", "layer2"]
    info = model.feature_info
    assert (len(info), info[3]["module"], info.channels(0), info.reduction((3, 0))) == (5, "layer3", 16, [16, 4])
    assert info.get_dicts(["module"]) == [{"module": "layer4"}, {"module": "layer1"}, {"module": "layer2"}]
    assert info.get_dicts(idx=1) == info[1]
    assert backend.module.create_model("resnest14", features_only=True, out_indices=2, **build).out_indices == [3, 4]


@pytest.mark.parametrize("kind", GLOBAL_POOLS)
def test_every_global_pooling(backend, kind):
    spec = tiny(num_classes=0, global_pool=kind)
    model = double(backend, spec)
    last = backend.stages(model, IMAGES)[4]
    average, largest = last.mean((2, 3)), last.max((2, 3))
    expected = {
        "avg": average,
        "max": largest,
        "avgmax": (average + largest) / 2,
        "catavgmax": np.concatenate((average, largest), 1),
        "": last,
    }[kind]
    assert relative(backend.predict(model, IMAGES), expected) < 1e-14


def test_a_classifier_over_both_poolings_is_twice_as_wide(backend):
    spec = tiny(global_pool="catavgmax")
    assert spec.tensors()["fc.weight"] == (5, 4096)
    model = backend.build(spec)
    assert backend.predict(model, IMAGES.astype(np.float32)).shape == (2, 5)
    assert model.head_hidden_size == 4096


def test_without_pooling_there_is_no_classifier():
    with pytest.raises(ValueError, match="give num_classes=0 too"):
        tiny(global_pool="")


def test_reset_classifier_changes_the_pooling_too(backend):
    model = double(backend, tiny())
    features = backend.stages(model, IMAGES)[4]
    model.reset_classifier(0, "max")
    assert (model.global_pool, model.num_classes) == ("max", 0)
    assert relative(backend.predict(model, IMAGES), features.max((2, 3))) < 1e-14
    model.reset_classifier(7, "catavgmax")
    assert backend.predict(model, IMAGES).shape == (2, 7)
    assert backend.module.get_weights(model)["fc.weight"].shape == (7, 4096)
    model.reset_classifier(0, "")
    assert relative(backend.predict(model, IMAGES), features) < 1e-14
    with pytest.raises(ValueError, match="give num_classes=0 too"):
        model.reset_classifier(3, "")
    model.reset_classifier(3)
    assert (model.global_pool, backend.predict(model, IMAGES).shape) == ("avg", (2, 3))
    for wrong, said in ((-1, "num_classes=-1 must be a whole number, at least 1, or 0"), (None, "num_classes=None")):
        with pytest.raises(ValueError, match=said):
            model.reset_classifier(wrong)
    with pytest.raises(ValueError, match="global_pool='odd' must be one of 'avg'"):
        model.reset_classifier(3, "odd")
    assert (model.global_pool, backend.predict(model, IMAGES).shape) == ("avg", (2, 3))


@pytest.mark.parametrize(
    ("theirs", "ours"), [("fast", "avg"), ("fastavg", "avg"), ("fastmax", "max"), ("fastcatavgmax", "catavgmax")]
)
def test_timms_second_names_of_poolings(backend, theirs, ours):
    narrow = {"stem_width": 8, "bottleneck_width": 8}
    assert backend.module.create_model("resnest14", global_pool=theirs, **narrow).global_pool == ours
    model = backend.build(tiny())
    model.reset_classifier(3, theirs)
    assert model.global_pool == ours


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_itself_and_is_folded_saved_and_opened(backend, activation, tmp_path):
    spec = tiny(activation=activation)
    model = double(backend, spec)
    expected = backend.predict(model, IMAGES)
    stem = backend.predict(model.relu, IMAGES.copy())
    assert relative(stem, EXACT[activation](IMAGES)) < 1e-14
    assert relative(backend.predict(model.deploy(), IMAGES), expected) < 1e-12
    model.save_pretrained(tmp_path)
    again = backend.cast(type(model).from_pretrained(tmp_path), "float64")
    assert again.spec == spec
    assert (backend.predict(again, IMAGES) == expected).all()


def test_another_activation_than_the_specs_is_not_deployed(backend):
    model = backend.build(tiny(activation="silu"))
    if backend.name == "gluon":
        delattr(model, "relu")
    model.relu = backend.build(tiny()).relu
    with pytest.raises(ValueError, match=r"relu is .* where tiny has"):
        model.deploy()


def test_timms_words_mean_ours(backend):
    narrow = {"stem_width": 8, "bottleneck_width": 8}
    theirs = backend.module.create_model(
        "resnest14", in_chans=1, drop_rate=0.2, bn_eps=1e-3, bn_momentum=0.2, act_layer="swish", **narrow
    )
    assert theirs.spec == get_spec(
        "resnest14", in_channels=1, norm_eps=1e-3, norm_momentum=0.2, activation="silu", **narrow
    )
    assert (theirs.drop_rate, theirs.in_chans, theirs.num_classes) == (0.2, 1, 1000)
    with pytest.raises(TypeError, match="is told in_channels twice: in_chans is timm's word for it"):
        backend.module.create_model("resnest14", in_chans=1, in_channels=1)


def test_paths_are_dropped_for_each_image_and_more_often_with_depth(backend):
    spec = tiny(stage_depths=(2, 1, 1, 1))
    model = backend.build(spec, drop_path_prob=0.5)
    blocks = [*model.layer1, *model.layer2, *model.layer3, *model.layer4]
    probs = [getattr(block.drop_path, "prob", 0.0) for block in blocks]
    assert probs == [0.0, 0.125, 0.25, 0.375, 0.5]
    layer = model.layer4[0].drop_path
    ones = np.ones((4000, 2, 1, 1), np.float32)
    dropped = backend.train(layer, ones)[:, :, 0, 0]
    assert (dropped[:, 0] == dropped[:, 1]).all()
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert abs((dropped[:, 0] == 0).mean() - 0.5) < 6 * (0.25 / 4000) ** 0.5
    assert (backend.predict(layer, ones) == ones).all()


def test_a_network_that_drops_paths_predicts_and_deploys_as_one_that_does_not(backend):
    x = IMAGES.astype(np.float32)
    model = backend.build(tiny(), drop_path_prob=0.5)
    expected = backend.predict(backend.build(tiny()), x)
    assert (backend.predict(model, x) == expected).all()
    assert relative(backend.predict(model.deploy(), x), expected) < 1e-5


def test_what_timms_data_code_asks():
    cfg = default_cfg(get_spec("resnest269"))
    assert cfg["input_size"] == (3, 416, 416)
    assert cfg["pool_size"] == (13, 13)
    assert cfg["crop_pct"] == pytest.approx(416 / 448, abs=1e-4)
    assert (cfg["interpolation"], cfg["first_conv"], cfg["classifier"]) == ("bicubic", "conv1.0", "fc")


def test_a_config_can_be_put_in_place_of_the_specs(backend):
    model = backend.build(tiny())
    assert model.default_cfg == model.pretrained_cfg == default_cfg(model.spec)
    model.pretrained_cfg = {"input_size": (3, 32, 32)}
    assert model.default_cfg == {"input_size": (3, 32, 32)}


def test_the_classifier_has_a_name(backend):
    model = backend.build(tiny())
    assert model.get_classifier(name_only=True) == "fc"
    assert model.get_classifier() is model.fc
    assert model.group_matcher(coarse=True)["blocks"] == r"^layer(\d+)"
    assert model.no_weight_decay() == set()
