import numpy as np

from resnest.data.resize import resize
from tests.support.arrays import photo_like


def test_resizing_is_pytorchs():
    import torch.nn.functional as F
    from torch import from_numpy

    x = photo_like(1, 3, 9, 13)
    for size in ((18, 26), (5, 30), (1, 1), (9, 13)):
        theirs = F.interpolate(from_numpy(x), size=size, mode="bilinear", align_corners=False).numpy()
        np.testing.assert_allclose(resize(x, *size), theirs, rtol=0, atol=1e-14)
