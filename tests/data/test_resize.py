import tracemalloc

import numpy as np
import pytest

from resnest.data import resize as module
from resnest.data.resize import BAND, bands, bilinear_matrix, resize
from tests.support.arrays import photo_like


def test_resizing_is_pytorchs():
    import torch.nn.functional as F
    from torch import from_numpy

    x = photo_like(1, 3, 9, 13)
    for size in ((18, 26), (5, 30), (1, 1), (9, 13)):
        theirs = F.interpolate(from_numpy(x), size=size, mode="bilinear", align_corners=False).numpy()
        np.testing.assert_allclose(resize(x, *size), theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("width", [5, 13, 40])
@pytest.mark.parametrize("height", [1, 9, 4, 31])
@pytest.mark.parametrize("band", [1, BAND])
def test_resizing_is_two_matrix_products(height, width, band, monkeypatch):
    monkeypatch.setattr(module, "BAND", band)
    x = photo_like(2, 3, 9, 13)
    products = bilinear_matrix(9, height).T @ (x @ bilinear_matrix(13, width))
    np.testing.assert_allclose(resize(x, height, width), products, rtol=0, atol=1e-14)
    mirrored = resize(x[..., ::-1], height, width)[..., ::-1]
    np.testing.assert_allclose(mirrored, products, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_resizing_keeps_the_dtype(dtype):
    assert resize(np.ones((1, 2, 3, 4), dtype), 5, 6).dtype == dtype


@pytest.mark.parametrize(("height", "width"), [(9, 13), (9, 20), (20, 13), (4, 5)])
def test_bands_are_all_rows_in_turn_and_the_callers_own(height, width, monkeypatch):
    monkeypatch.setattr(module, "BAND", 2000)
    x = photo_like(1, 3, 9, 13)
    whole, found = resize(x, height, width), list(bands(x, height, width))
    assert len(found) > 1
    assert [row for rows, _ in found for row in range(rows.start, rows.stop)] == list(range(height))
    np.testing.assert_array_equal(np.concatenate([band for _, band in found], axis=2), whole)
    assert not any(np.may_share_memory(band, x) for _, band in found)


def test_nothing_is_kept_of_sizes_that_came_by():
    """A hundred sizes of photos, as a folder of them has, leave no more than one does."""
    tracemalloc.start()
    try:
        resize(np.zeros((1, 1, 400, 600), np.float32), 300, 500)
        before, _ = tracemalloc.get_traced_memory()
        for number in range(100):
            resize(np.zeros((1, 1, 400 + number, 600), np.float32), 300, 500)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000


def test_resizing_holds_little_beside_its_result():
    x = np.zeros((1, 50, 128, 256), np.float32)
    tracemalloc.start()
    try:
        result = resize(x, 512, 1024)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.15 * result.nbytes
