import hashlib

import numpy as np
import pytest

from resnest.data.resize import resize, resize_pixels
from tests.support.arrays import photo_like


def test_resizing_is_pytorchs():
    import torch.nn.functional as F
    from torch import from_numpy

    x = photo_like(1, 3, 9, 13)
    for size in ((18, 26), (5, 30), (1, 1), (9, 13)):
        theirs = F.interpolate(from_numpy(x), size=size, mode="bilinear", align_corners=False).numpy()
        np.testing.assert_allclose(resize(x, *size), theirs, rtol=0, atol=1e-14)


SIZES = [(48, 71), (90, 120), (64, 80), (1, 1), (60, 40)]  # drawn one after the other


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((48, 71), (80, 120), "44537cd8ddc46ff1"),
        ((90, 120), (33, 40), "1314b40703597f4d"),
        ((64, 80), (32, 40), "304fd143ae496509"),
        ((1, 1), (5, 7), "e0d37f58a6145d09"),
        ((60, 40), (61, 39), "8ec87aa2aafa83f1"),
    ],
)
def test_whole_numbers_are_opencvs(before, after, expected):
    """SHA-256 of what `cv2.resize(..., interpolation=cv2.INTER_LINEAR)` of OpenCV 4.11 gives."""
    random = np.random.default_rng(0)
    drawn = {size: random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES}
    found = resize_pixels(drawn[before], *after)
    assert hashlib.sha256(found.tobytes()).hexdigest().startswith(expected)
