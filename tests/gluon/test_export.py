"""What MXNet makes of the network: hybridized, exported, reloaded."""

import numpy as np
import pytest

from resnest.weights.seeded import draw_weights
from tests.support.arrays import photo_like, relative
from tests.support.backends import Backend
from tests.support.specs import tiny

pytestmark = pytest.mark.gluon


@pytest.fixture
def gluon():
    return Backend("gluon")


@pytest.mark.parametrize("static", [False, True])
def test_hybridized_it_gives_the_same(gluon, static):
    model = gluon.build(tiny(radix=4, cardinality=2))
    x = photo_like(2, 3, 47, 70, dtype="float32")
    imperative = gluon.predict(model, x)
    model.hybridize(static_alloc=static, static_shape=static)
    assert relative(gluon.predict(model, x), imperative) < 1e-6
    other_size = photo_like(1, 3, 64, 33, dtype="float32")
    assert gluon.predict(model, other_size).shape == (1, 5)


def test_hybridized_it_refuses_one_image_in_training(gluon):
    model = gluon.build(tiny())
    model.hybridize()
    with pytest.raises(ValueError, match="one value per channel"):
        gluon.train(model, photo_like(1, 3, 64, 64, dtype="float32"))


def test_an_image_too_small_for_mxnets_poolings_is_refused(gluon):
    with pytest.raises(ValueError, match="16x40 pixels is too small for tiny at output stride 32: give at least 17x17"):
        gluon.predict(gluon.build(tiny()), photo_like(1, 3, 16, 40, dtype="float32"))


@pytest.mark.parametrize("options", [{}, {"dropblock_prob": 0.3, "final_drop": 0.3}])
def test_exported_and_reloaded_it_gives_the_same_at_any_size(gluon, options, tmp_path):
    from resnest.gluon._mxnet import mx

    model = gluon.build(tiny(), **options)
    x = photo_like(2, 3, 64, 64, dtype="float32")
    model.hybridize()
    before = gluon.predict(model, x)
    model.export(str(tmp_path / "model"))
    reloaded = mx.gluon.SymbolBlock.imports(
        str(tmp_path / "model-symbol.json"), ["data"], str(tmp_path / "model-0000.params")
    )
    assert relative(gluon.predict(reloaded, x), before) < 1e-6
    other = photo_like(1, 3, 47, 81, dtype="float32")
    assert relative(gluon.predict(reloaded, other), gluon.predict(model, other)) < 1e-6


def test_its_own_parameter_files_go_both_ways(gluon, tmp_path):
    from resnest import weights

    spec = tiny()
    gluon.build(spec).save_parameters(str(tmp_path / "mxnet.params"))
    ours = weights.load(tmp_path / "mxnet.params")
    assert all((ours[name] == array).all() for name, array in draw_weights(spec).items())
    weights.save(draw_weights(spec), tmp_path / "ours.params")
    model = gluon.module.ResNeSt(spec)
    model.load_parameters(str(tmp_path / "ours.params"))
    held = gluon.module.get_weights(model)
    assert all((held[name] == array).all() for name, array in draw_weights(spec).items())


def test_arrays_saved_by_mxnet_itself_are_read_bit_for_bit(gluon, tmp_path):
    from resnest.gluon._mxnet import mx
    from resnest.weights.formats import mxnet_params

    rng = np.random.default_rng(0)
    arrays = {
        dtype: (rng.normal(size=(3, 4, 5)) * 50).astype(dtype)
        for dtype in ("float32", "float64", "float16", "uint8", "int32", "int8", "int64")
    }
    mx.nd.save(str(tmp_path / "a.params"), {name: mx.nd.array(a, dtype=a.dtype) for name, a in arrays.items()})
    with open(tmp_path / "a.params", "rb") as file:
        index = mxnet_params.read_index(file)
        read = {name: mxnet_params.read_array(file, entry) for name, entry in index.items()}
    assert all(read[name].dtype == a.dtype and (read[name] == a).all() for name, a in arrays.items())
    with open(tmp_path / "b.params", "wb") as file:
        mxnet_params.write(file, arrays)
    theirs = mx.nd.load(str(tmp_path / "b.params"))
    assert all(theirs[name].dtype == a.dtype and (theirs[name].asnumpy() == a).all() for name, a in arrays.items())
