import numpy as np
import pytest

from resnest.weights.seeded import draw_weights
from tests.support.arrays import photo_like, relative
from tests.support.backends import Backend
from tests.support.specs import tiny, tiny_detector, tiny_segmenter


@pytest.mark.gluon
def test_gluon_optimizes_for_onednn():
    backend = Backend("gluon")
    model = backend.build(tiny())
    images = photo_like(2, 3, 64, 50, dtype="float32")
    optimized = backend.module.optimize(model, backend.array(images))
    assert relative(backend.predict(optimized, images), backend.predict(model, images)) < 1e-5


@pytest.mark.gluon
@pytest.mark.parametrize("changes", [{}, {"radix": 1}, {"radix": 4, "cardinality": 2}], ids=str)
def test_gluon_computes_in_bfloat16(changes, monkeypatch):
    monkeypatch.setattr("resnest.backends.processor.flags", lambda: ["avx512_bf16"])
    backend = Backend("gluon")
    model = backend.build(tiny(**changes))
    images = photo_like(2, 3, 64, 50, dtype="float32")
    optimized = backend.module.optimize(model, backend.array(images), dtype="bfloat16")
    found = backend.predict(optimized, images)
    assert found.dtype == np.float32
    assert 1e-5 < relative(found, backend.predict(model, images)) < 0.05


@pytest.mark.gluon
@pytest.mark.parametrize(
    ("dtype", "flags", "words"),
    [
        ("float16", ["avx512_fp16"], "computes in float32 or bfloat16, and not in float16"),
        ("bfloat16", ["avx2"], "this processor has no bfloat16 instructions"),
        ("int4", ["avx2"], "'int4' is none that networks compute in"),
    ],
)
def test_a_dtype_that_nobody_computes_in_is_refused_by_one_sentence(dtype, flags, words, monkeypatch):
    monkeypatch.setattr("resnest.backends.processor.flags", lambda: flags)
    backend = Backend("gluon")
    with pytest.raises(ValueError, match=words):
        backend.module.optimize(backend.build(tiny()), backend.array(photo_like(1, 3, 64, 50)), dtype=dtype)


@pytest.mark.gluon
def test_activations_that_mxnet_does_not_convert_are_refused(monkeypatch):
    monkeypatch.setattr("resnest.backends.processor.flags", lambda: ["avx512_bf16"])
    backend = Backend("gluon")
    model, images = backend.build(tiny(activation="silu")), backend.array(photo_like(1, 3, 64, 50))
    with pytest.raises(ValueError, match="networks of ReLUs to bfloat16, and tiny has silu: take float32"):
        backend.module.optimize(model, images, dtype="bfloat16")
    with pytest.raises(ValueError, match="and tiny has heads that are none"):
        backend.module.optimize(backend.build(tiny_segmenter()), images, dtype="bfloat16")


@pytest.mark.gluon
def test_norms_that_do_not_scale_are_read_as_what_they_do():
    """MXNet takes their scales for one, whatever they hold, and writes that into them when they first run."""
    backend = Backend("gluon")
    model = backend.build(tiny())
    norm = model.layer1[0].bn1
    norm._kwargs["fix_gamma"] = True
    assert norm.gamma.data().asnumpy().std() > 0.01
    images = photo_like(2, 3, 64, 50, dtype="float32")
    deployed = model.deploy()  # before the network has run
    assert relative(backend.predict(deployed, images), backend.predict(model, images)) < 1e-5
    with pytest.raises(ValueError, match=r"conv1\.1\.weight scales, and this network's norms have scale=False"):
        backend.module.load_weights(backend.module.ResNeSt(tiny(), norm_kwargs={"scale": False}), draw_weights(tiny()))


@pytest.mark.gluon
def test_a_network_without_weights_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="has no weights yet: initialize it"):
        Backend("gluon").module.ResNeSt(tiny()).save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.gluon
def test_gluon_optimizes_the_backbone_of_segmenters_and_detectors():
    backend = Backend("gluon")
    model = backend.build(tiny_segmenter("aspp_sep"))
    images = photo_like(2, 3, 64, 50, dtype="float32")
    optimized = backend.module.optimize(model, backend.array(images))
    assert "sg_mkldnn_conv" in str(optimized.backbone._cached_graph[1].get_internals().list_outputs())
    assert relative(backend.predict(optimized, images), backend.predict(model, images)) < 1e-5

    model = backend.build(tiny_detector("mask_rcnn", score_threshold=0.0))
    optimized = backend.module.optimize(model, backend.array(images))
    for expected, found in zip(model(backend.array(images)), optimized(backend.array(images)), strict=True):
        assert np.array_equal(expected["labels"], found["labels"])
        assert np.allclose(expected["boxes"], found["boxes"], atol=1e-2)
