import pytest

from tests.support.specs import tiny


def test_a_network_converted_to_synchronised_norms_may_see_one_image_per_process():
    import torch
    from torch import nn

    import resnest.torch

    model = nn.SyncBatchNorm.convert_sync_batchnorm(resnest.torch.ResNeSt(tiny()))
    with pytest.raises((ValueError, RuntimeError)) as error:  # in one process it is PyTorch that refuses
        model.train()(torch.zeros(1, 3, 64, 64))
    assert "split attention" not in str(error.value)
