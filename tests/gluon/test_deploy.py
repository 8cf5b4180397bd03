import pytest

from tests.support.arrays import photo_like, relative
from tests.support.backends import Backend
from tests.support.specs import tiny


@pytest.mark.gluon
def test_gluon_optimizes_for_onednn():
    backend = Backend("gluon")
    model = backend.build(tiny())
    images = photo_like(2, 3, 64, 50, dtype="float32")
    optimized = backend.module.optimize(model, backend.array(images))
    assert relative(backend.predict(optimized, images), backend.predict(model, images)) < 1e-5
