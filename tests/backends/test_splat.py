import itertools

import numpy as np
import pytest

from resnest.specs.blocks import SplitAttentionSpec
from tests.support.arrays import photo_like, relative


def by_hand(x, w1, b1, w2, b2, radix, cardinality):
    """Split attention from the splits (N, R * C, H, W) on, as the paper's figure 2 says it, group by group."""
    n, channels = x.shape[0], x.shape[1] // radix
    splits = x.reshape(n, radix, channels, *x.shape[2:])
    gap = splits.sum(1).mean((2, 3))  # (N, C)

    def grouped(values, weight, bias):
        groups = np.split(values, cardinality, axis=1)
        rows = np.split(weight[:, :, 0, 0], cardinality)
        return np.concatenate([g @ w.T for g, w in zip(groups, rows)], axis=1) + bias

    hidden = np.maximum(grouped(gap, w1, b1), 0)
    scores = grouped(hidden, w2, b2).reshape(n, cardinality, radix, channels // cardinality)
    exponentials = np.exp(scores)
    weights = exponentials / (1 + exponentials if radix == 1 else exponentials.sum(2, keepdims=True))
    out = np.zeros((n, channels, *x.shape[2:]))
    for k, r, c in itertools.product(range(cardinality), range(radix), range(channels // cardinality)):
        channel = k * (channels // cardinality) + c
        out[:, channel] += weights[:, k, r, c, None, None] * splits[:, r, channel]
    return out


@pytest.mark.parametrize(("radix", "cardinality"), [(1, 1), (2, 1), (4, 1), (1, 4), (2, 2), (3, 2)])
def test_split_attention_is_what_the_paper_says(backend, radix, cardinality):
    spec = SplitAttentionSpec(24, radix, cardinality)
    layer = layer_without_norms(backend, spec)
    rng = np.random.default_rng(radix)
    weights = {name: rng.normal(size=shape) for name, shape in shapes(spec).items()}
    set_weights(backend, layer, weights)
    x = photo_like(2, 24, 5, 4)
    ours = backend.predict(layer, x)
    split = np.maximum(convolve(x, weights["conv.weight"], spec.conv.groups), 0)
    named = [weights[name] for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")]
    assert relative(ours, by_hand(split, *named, radix, cardinality)) < 1e-13


def shapes(spec):
    result = {}
    for name, conv, _ in spec.layers("x"):
        result[f"{name[2:]}.weight"] = conv.shape
        if conv.bias:
            result[f"{name[2:]}.bias"] = (conv.out_channels,)
    return result


def layer_without_norms(backend, spec):
    if backend.name == "torch":
        from torch import nn

        return backend.module.SplitAttention(spec, norm_layer=lambda channels: nn.Identity()).double()
    from resnest.gluon.layers.basic import Identity

    return backend.module.SplitAttention(spec, norm_layer=lambda in_channels: Identity())


def set_weights(backend, layer, weights):
    if backend.name == "torch":
        import torch

        layer.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    else:
        layer.initialize()
        layer.cast("float64")
        for name, parameter in layer._collect_params_with_prefix().items():
            parameter.set_data(backend.array(weights[name]))


def convolve(x, weight, groups):
    """A 3x3 convolution of stride 1 and padding 1, one shift of the image at a time."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = x.shape[2:]
    out = []
    for w, part in zip(np.split(weight, groups), np.split(padded, groups, axis=1)):
        shifts = [
            np.einsum("nchw,oc->nohw", part[:, :, i : i + height, j : j + width], w[:, :, i, j])
            for i in range(3)
            for j in range(3)
        ]
        out.append(sum(shifts))
    return np.concatenate(out, axis=1)
