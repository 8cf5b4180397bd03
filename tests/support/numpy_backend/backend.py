"""ResNeSt in NumPy, prediction only: what a few lines of the spec's own words make of it."""

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from resnest.specs.blocks import NORM_EPS, STEM_POOL, BlockSpec, ConvSpec, Layer, PoolSpec, SplitAttentionSpec
from resnest.specs.resnest import ResNeStSpec

UNBIASED = True

Weights = Mapping[str, np.ndarray]


def run_stages(spec: ResNeStSpec, weights: Weights, images: np.ndarray) -> list[np.ndarray]:
    weights = {name: array.astype(images.dtype) for name, array in weights.items()}
    x = images
    for layer in spec.stem():
        x = np.maximum(conv(x, layer, weights), 0)
    stages = [pool(x, STEM_POOL, np.max, -np.inf)]
    for block in spec.blocks():
        x = bottleneck(x if block.index else stages[-1], block, weights)
        if block.index == spec.stage_depths[block.stage - 1] - 1:
            stages.append(x)
    return [*stages, x.mean((2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]]


def bottleneck(x: np.ndarray, block: BlockSpec, weights: Weights) -> np.ndarray:
    conv1, splits, fc1, fc2, conv3, *projection = block.layers()
    shortcut = x if block.projection_pool is None else average(x, block.projection_pool)
    for layer in projection:
        shortcut = conv(shortcut, layer, weights)
    x = np.maximum(conv(x, conv1, weights), 0)
    x = average(x, block.pool_before)
    x = split_attention(x, block.attention, (splits, fc1, fc2), weights)
    x = average(x, block.pool_after)
    return np.maximum(conv(x, conv3, weights) + shortcut, 0)


def split_attention(
    x: np.ndarray, splat: SplitAttentionSpec, layers: tuple[Layer, ...], weights: Weights
) -> np.ndarray:
    splits, fc1, fc2 = layers
    x = np.maximum(conv(x, splits, weights), 0)
    x = x.reshape(len(x), splat.radix, -1, *x.shape[2:])  # (N, R, C, H, W)
    gap = x.sum(1).mean((2, 3), keepdims=True)
    scores = conv(np.maximum(conv(gap, fc1, weights), 0), fc2, weights)
    scores = scores.reshape(len(x), splat.cardinality, splat.radix, -1).swapaxes(1, 2)
    powers = np.exp(scores)
    attention = powers / (1 + powers if splat.radix == 1 else powers.sum(1, keepdims=True))
    return (x * attention.reshape(*x.shape[:3], 1, 1)).sum(1)


def conv(x: np.ndarray, layer: Layer, weights: Weights) -> np.ndarray:
    """The convolution, and the batch norm behind it if one is."""
    spec: ConvSpec = layer.conv
    reach = spec.dilation * (spec.kernel_size - 1) + 1
    padded = np.pad(x, ((0, 0), (0, 0), *[(spec.padding, spec.padding)] * 2))
    windows = sliding_window_view(padded, (reach, reach), (2, 3))
    windows = windows[:, :, :: spec.stride, :: spec.stride, :: spec.dilation, :: spec.dilation]
    windows = windows.reshape(len(x), spec.groups, -1, *windows.shape[2:])
    kernel = weights[f"{layer.name}.weight"]
    kernel = kernel.reshape(spec.groups, -1, *kernel.shape[1:])
    out = np.einsum("ngchwij,gocij->ngohw", windows, kernel, optimize=True)
    out = out.reshape(len(x), -1, *out.shape[3:])
    if spec.bias:
        out = out + weights[f"{layer.name}.bias"][:, None, None]
    if layer.norm is None:
        return out
    scale, shift, mean, var = (
        weights[f"{layer.norm}.{tensor}"][:, None, None] for tensor in ("weight", "bias", "running_mean", "running_var")
    )
    return (out - mean) / np.sqrt(var + NORM_EPS) * scale + shift


def average(x: np.ndarray, spec: PoolSpec | None) -> np.ndarray:
    if spec is None or spec.kernel_size == 1:
        return x
    if spec.count_include_pad:
        return pool(x, spec, np.mean, 0)
    sums, counts = pool(x, spec, np.sum, 0), pool(np.ones_like(x), spec, np.sum, 0)
    return sums / counts


def pool(x: np.ndarray, spec: PoolSpec, reduce, fill: float) -> np.ndarray:
    over = [
        -(size + 2 * spec.padding - spec.kernel_size) % spec.stride if spec.ceil_mode else 0 for size in x.shape[2:]
    ]
    sides = [(spec.padding, spec.padding + more) for more in over]
    padded = np.pad(x, ((0, 0), (0, 0), *sides), constant_values=fill)
    windows = sliding_window_view(padded, (spec.kernel_size, spec.kernel_size), (2, 3))
    return reduce(windows[:, :, :: spec.stride, :: spec.stride], (4, 5))
