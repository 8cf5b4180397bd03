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
