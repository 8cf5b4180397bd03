import pytest


@pytest.mark.parametrize("gluons", ["ctx", "norm_kwargs", "use_global_stats", "split_drop_ratio"])
def test_pytorch_says_what_it_has_for_gluons_words(gluons):
    import resnest.torch

    with pytest.raises(TypeError, match=f"no argument '{gluons}': here it is"):
        resnest.torch.resnest50(**{gluons: 1})
