import pytest

from tests.support.arrays import photo_like

NARROW = {"stem_width": 8, "bottleneck_width": 8}


@pytest.mark.gluon
def test_gluons_get_model_builds_by_name_on_the_contexts_asked_for():
    import resnest.gluon
    from resnest.gluon._mxnet import mx

    model = resnest.gluon.get_model("resnest14", classes=3, ctx=[mx.cpu(0), mx.cpu(1)], **NARROW)
    assert model.fc.weight.list_ctx() == [mx.cpu(0), mx.cpu(1)]


@pytest.mark.gluon
def test_use_global_stats_leaves_the_running_statistics_alone_in_training():
    import resnest.gluon
    from resnest.gluon._mxnet import mx

    model = resnest.gluon.resnest14(use_global_stats=True, **NARROW)
    before = resnest.gluon.get_weights(model)
    x = mx.nd.array(photo_like(2, 3, 32, 32))
    with mx.autograd.record():
        loss = model(x).sum()
    loss.backward()
    after = resnest.gluon.get_weights(model)
    assert all((after[name] == array).all() for name, array in before.items())


@pytest.mark.gluon
@pytest.mark.parametrize("call", ["__call__", "forward_features", "forward_stages", "forward_intermediates"])
def test_an_image_that_mxnet_would_crash_on_is_refused_wherever_it_goes_in(call):
    import resnest.gluon
    from resnest.gluon._mxnet import mx

    model = resnest.gluon.resnest14(**NARROW)
    with pytest.raises(ValueError, match="8x40 pixels is too small for resnest14"):
        getattr(model, call)(mx.nd.zeros((1, 3, 8, 40)))


@pytest.mark.gluon
def test_split_drop_ratio_drops_inside_split_attention():
    import resnest.gluon
    from resnest.gluon._mxnet import mx

    model = resnest.gluon.resnest14(split_drop_ratio=0.5, **NARROW)
    x = mx.nd.array(photo_like(2, 3, 32, 32))
    assert (model(x) == model(x)).asnumpy().all()
    with mx.autograd.record():
        assert (model(x) != model(x)).asnumpy().any()
