"""A candidate: the weighted sum of two splits as one Triton kernel, for `benchmarks/gpu.py` to judge.

It becomes part of `resnest.torch` only where it beats what `torch.compile` makes of `weighted_sum`.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

PIXELS, CHANNELS = 16, 64
"""The tile of one program. Powers of two; the channels lie side by side in memory."""


@triton.jit
def kernel(x, attention, out, pixels, channels, PIXELS: tl.constexpr, CHANNELS: tl.constexpr):
    image = tl.program_id(0)
    pixel = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channel < channels
    scores = attention + image * 2 * channels + channel
    difference = tl.load(scores, inside, 0).to(tl.float32) - tl.load(scores + channels, inside, 0).to(tl.float32)
    weight = tl.sigmoid(difference)[None, :]
    row = image * pixels + pixel[:, None]
    mask = (pixel < pixels)[:, None] & inside[None, :]
    splits = x + row * 2 * channels + channel[None, :]
    first = tl.load(splits, mask, 0).to(tl.float32)
    second = tl.load(splits + channels, mask, 0).to(tl.float32)
    tl.store(out + row * channels + channel[None, :], second + weight * (first - second), mask)


def weighted_sum(x: Tensor, attention: Tensor) -> Tensor:
    """As `resnest.torch.layers.splat.weighted_sum` with radix 2 and cardinality 1, channels-last x, no gradients."""
    if not x.is_contiguous(memory_format=torch.channels_last):
        raise ValueError(f"x with strides {x.stride()} must be channels-last")
    images, double, height, width = x.shape
    channels, pixels = double // 2, height * width
    shape = (images, channels, height, width)
    out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
    grid = (images, triton.cdiv(pixels, PIXELS), triton.cdiv(channels, CHANNELS))
    kernel[grid](x, attention.contiguous(), out, pixels, channels, PIXELS, CHANNELS)
    return out
