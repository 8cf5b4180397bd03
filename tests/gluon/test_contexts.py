"""Networks on several contexts, moved and read with MXNet's own verbs."""

import numpy as np
import pytest

from resnest import get_spec
from resnest.weights.seeded import draw_weights
from tests.support.backends import Backend
from tests.support.specs import tiny, tiny_segmenter

pytestmark = pytest.mark.gluon

NARROW = {"stem_width": 8, "bottleneck_width": 8}
SPEC = get_spec("resnest14", num_classes=5, **NARROW)


@pytest.fixture
def mx():
    from resnest.gluon._mxnet import mx

    return mx


@pytest.fixture
def gluon(mx):
    return Backend("gluon")


def contexts(model):
    return {str(ctx) for parameter in model.collect_params().values() for ctx in parameter.list_ctx()}


def test_a_built_network_is_drawn_anew_where_initialize_says(gluon, mx):
    model = gluon.module.resnest14(classes=5, **NARROW)
    before = gluon.module.get_weights(model)
    model.initialize(mx.init.Constant(0.25), ctx=[mx.cpu(0), mx.cpu(1)])
    assert contexts(model) == {"cpu(0)", "cpu(1)"}
    after = gluon.module.get_weights(model)
    assert (after["conv1.0.weight"] != before["conv1.0.weight"]).any()
    assert (after["layer1.0.conv2.bn0.running_var"] == 1).all()


def test_a_built_segmenter_is_drawn_anew_too(gluon, mx):
    backbone = get_spec("resnest14", output_stride=8, dilated_pooling="openmmlab", num_classes=0, **NARROW)
    model = gluon.module.create_segmenter("fcn_resnest101_voc", backbone=backbone, channels=8, auxiliary_channels=8)
    before = gluon.module.get_weights(model)["backbone.layer1.0.conv1.weight"]
    model.initialize(ctx=mx.cpu(0))
    assert (gluon.module.get_weights(model)["backbone.layer1.0.conv1.weight"] != before).any()


def test_loaded_weights_stay_and_move(gluon, mx):
    weights = draw_weights(SPEC)
    model = gluon.module.resnest14(classes=5, weights=weights, **NARROW)
    model.initialize(ctx=[mx.cpu(0), mx.cpu(1)])
    assert contexts(model) == {"cpu(0)", "cpu(1)"}
    assert all((weights[name] == array).all() for name, array in gluon.module.get_weights(model).items())
    model.initialize(ctx=mx.cpu(0), force_reinit=True)
    assert contexts(model) == {"cpu(0)"}
    assert (gluon.module.get_weights(model)["bn1.running_mean"] == 0).all()


def test_weights_go_where_ctx_says(gluon, mx):
    backbone = get_spec("resnest14", output_stride=8, dilated_pooling="openmmlab", num_classes=0, **NARROW)
    small = {"backbone": backbone, "channels": 8, "auxiliary_channels": 8}
    weights = gluon.module.get_weights(gluon.module.create_segmenter("fcn_resnest101_voc", **small))
    for ctx in (mx.cpu(1), [mx.cpu(0), mx.cpu(1)]):
        for given in (weights, None):
            model = gluon.module.create_segmenter("fcn_resnest101_voc", weights=given, ctx=ctx, **small)
            assert contexts(model) == {str(one) for one in (ctx if isinstance(ctx, list) else [ctx])}


@pytest.mark.parametrize("spec", [SPEC, tiny_segmenter()], ids=["classifier", "segmenter"])
def test_a_parameter_file_is_loaded_onto_several_contexts(gluon, mx, spec, tmp_path):
    gluon.build(spec).save_parameters(str(tmp_path / "a.params"))
    model = gluon.build(spec)
    model.load_parameters(str(tmp_path / "a.params"), ctx=[mx.cpu(0), mx.cpu(1)])
    assert contexts(model) == {"cpu(0)", "cpu(1)"}
    fresh = gluon.networks[type(spec)](spec)
    fresh.load_parameters(str(tmp_path / "a.params"), ctx=[mx.cpu(0), mx.cpu(1)])
    assert contexts(fresh) == {"cpu(0)", "cpu(1)"}


def test_weights_of_several_contexts_are_their_means_as_in_mxnets_own_files(gluon, mx, tmp_path):
    spec = tiny()
    model = gluon.networks[type(spec)](spec)
    gluon.module.load_weights(model, draw_weights(spec), ctx=[mx.cpu(0), mx.cpu(1)])
    with mx.autograd.record():
        sums = [
            model(mx.nd.random.uniform(shape=(2, 3, 64, 64), ctx=ctx) + number).sum()
            for number, ctx in enumerate((mx.cpu(0), mx.cpu(1)))
        ]
    mx.autograd.backward(sums)  # MXNet's statistics move on the way back
    first, second = (data.asnumpy() for data in model.bn1.running_mean.list_data())
    assert (first != second).any()
    found = gluon.module.get_weights(model)
    np.testing.assert_allclose(found["bn1.running_mean"], (first + second) / 2, rtol=1e-6)
    model.save_parameters(str(tmp_path / "a.params"))
    theirs = mx.nd.load(str(tmp_path / "a.params"))
    np.testing.assert_array_equal(theirs["bn1.running_mean"].asnumpy(), found["bn1.running_mean"])
