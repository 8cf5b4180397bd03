"""Boxes and what lies in them: anchors, deltas, suppression, RoIAlign over a pyramid, masks put back into an image.

Boxes are (..., 4), x1 y1 x2 y2 in pixels. The operators are torchvision's, used as mmdetection uses mmcv's.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from resnest.specs.detection.anchors import MAX_LOG_RATIO, AnchorSpec, Box
from resnest.specs.detection.heads import FINEST_REGION, SAMPLES
from resnest.torch.layers.basic import computed_here

MOST_AT_ONCE = 10_000
"""From so many boxes on suppression goes group by group, as mmcv's does: one call would take their square in memory."""

BAND = 2**24
"""Pixels of masks that are put into an image at once, so that a large photo takes no more memory than a small one."""

GRAIN = 2**15
"""So many numbers PyTorch fills in one thread."""


@cache
def operators() -> Any:
    """torchvision's operators; ImportError, saying what to install, without them."""
    try:
        with torch.device("cpu"):  # it loads PyTorch's compiler, which computes, and on the meta device could not
            import torchvision
    except ImportError as error:
        raise ImportError(f"detectors need torchvision ({error}): pip install 'resnest[detection]'") from error
    return torchvision.ops


def being_exported() -> bool:
    """Whether what runs is being written down, so that no `if` may ask how much there is of something."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()


def grid(anchors: AnchorSpec, level: int, x: Tensor) -> Tensor:
    """All anchors (H * W * ratios, 4) of x, map number `level`, row by row, in its dtype and on its device."""
    stride = anchors.strides[level]
    like, (height, width) = x, x.shape[2:]
    x = torch.arange(width, device=like.device, dtype=like.dtype) * stride
    y = torch.arange(height, device=like.device, dtype=like.dtype) * stride
    y, x = torch.meshgrid(y, x, indexing="ij")
    shifts = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
    return (shifts + shifts.new_tensor(anchors.at_origin(level))).reshape(-1, 4)


def decode(boxes: Tensor, deltas: Tensor, stds: Box, sizes: Tensor) -> Tensor:
    """The `boxes` moved and scaled by `deltas` (dx, dy, dw, dh), clipped to images of `sizes` (..., 2), (h, w)."""
    deltas = deltas * deltas.new_tensor(stds)
    centre = (boxes[..., :2] + boxes[..., 2:]) * 0.5
    sides = boxes[..., 2:] - boxes[..., :2]
    centre = centre + sides * deltas[..., :2]
    sides = sides * deltas[..., 2:].clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
    return clip(torch.cat([centre - sides * 0.5, centre + sides * 0.5], dim=-1), sizes)


def encode(boxes: Tensor, truth: Tensor, stds: Box) -> Tensor:
    """The deltas that make `truth` of `boxes`: what `decode` undoes, but for clipping."""
    sides = boxes[..., 2:] - boxes[..., :2]
    wanted = truth[..., 2:] - truth[..., :2]
    shift = ((truth[..., :2] + truth[..., 2:]) * 0.5 - (boxes[..., :2] + boxes[..., 2:]) * 0.5) / sides
    return torch.cat([shift, (wanted / sides).log()], dim=-1) / boxes.new_tensor(stds)


def clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """The part of each box that lies in its image; `sizes` are (..., 2), height and width."""
    limits = sizes.flip(-1).to(boxes.dtype)
    return boxes.clamp(min=0).minimum(torch.cat([limits, limits], dim=-1))


def best_first(scores: Tensor) -> tuple[Tensor, Tensor]:
    """`scores` (..., n) sorted and their indices; of equal ones the first stays the first, on every machine."""
    if torch.onnx.is_in_onnx_export():  # it knows no `stable`, and its operator is
        return scores.sort(dim=-1, descending=True)
    return scores.sort(dim=-1, descending=True, stable=True)


def first(rows: Tensor, most: int) -> Tensor:
    """As many of the first `rows` as there are, and not more than `most`."""
    if torch.compiler.is_exporting():  # a slice asks PyTorch below 2.9 how many there are, which no graph knows
        return rows[torch.arange(rows.shape[0], device=rows.device) < most]
    return rows[:most]


def suppress(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float) -> Tensor:
    """Indices of the boxes that no better one of their group meets at more than `iou`, best first.

    The groups are moved apart and suppressed in one call. torchvision's own `batched_nms` leaves them in place
    where there are many boxes, and in float32, where moved boxes are rounded, that gives others than mmdetection's.
    """
    nms = operators().nms
    largest = F.pad(boxes.flatten(), (0, 1)).max()  # of no boxes it is zero
    apart = boxes + (groups.to(boxes.dtype) * (largest + 1))[:, None]
    if being_exported() or len(boxes) < MOST_AT_ONCE:
        return nms(apart, scores, iou)
    kept = torch.zeros_like(groups, dtype=torch.bool)
    for group in groups.unique():
        members = (groups == group).nonzero().squeeze(1)
        kept[members[nms(apart[members], scores[members], iou)]] = True
    kept = kept.nonzero().squeeze(1)
    return kept[best_first(scores[kept])[1]]


def joined(boxes: Sequence[Tensor]) -> Tensor:
    """Regions (K, 5) out of the boxes of each image: the image's number stands in front."""
    return torch.cat([F.pad(box, (1, 0), value=i) for i, box in enumerate(boxes)])


def align(maps: Sequence[Tensor], regions: Tensor, strides: Sequence[int], size: int) -> Tensor:
    """What lies in `regions` (K, 5), cut out of the map that suits their size: (K, C, size, size).

    A region of up to 112 pixels is of the first map, and of each further one at twice that.
    """
    sides = regions[:, 3:] - regions[:, 1:3]
    # mmdetection adds the small number before it takes the logarithm, torchvision's poolers after.
    levels = (sides.prod(dim=1).sqrt() / FINEST_REGION + 1e-6).log2().floor().clamp(0, len(maps) - 1)
    cut = maps[0].new_zeros((regions.shape[0], maps[0].shape[1], size, size))
    for level, (x, stride) in enumerate(zip(maps, strides)):
        members = (levels == level).nonzero().squeeze(1)
        cut = cut.index_copy(0, members, cut_out(x, regions[members], size, 1 / stride))
    return cut


def cut_out(x: Tensor, regions: Tensor, size: int, scale: float) -> Tensor:
    """What lies in `regions` (K, 5) of one map: (K, C, size, size); the map is the image times `scale`.

    On a CPU torchvision's RoIAlign takes one thread, which for a thousand regions of Mask R-CNN is a quarter of all
    time on two of them. So the regions are dealt out to as many threads as PyTorch has, a few at a time.
    """
    roi_align = partial(
        operators().roi_align, output_size=size, spatial_scale=scale, sampling_ratio=SAMPLES, aligned=True
    )
    threads = torch.get_num_threads()
    # Autocast and gradients are those of a thread.
    alone = torch.is_autocast_enabled("cpu") or x.requires_grad or not computed_here(x)
    if alone or threads == 1 or len(regions) < 2:
        return roi_align(x, regions)
    x = x.contiguous()  # or each call would copy it
    parts = regions.split(max(GRAIN // (x.shape[1] * size**2), 1))
    with ThreadPoolExecutor(threads) as pool:
        return torch.cat([*pool.map(torch.no_grad()(partial(roi_align, x)), parts)])


def paste(masks: Tensor, boxes: Tensor, frame: Sequence[int], threshold: float) -> Tensor:
    """Masks (n, S, S) of probabilities, stretched over their boxes: (n, H, W), true from `threshold` on.

    `frame` is the height and width of the image.

    Bilinear, pixels taken as squares, nothing outside the box. That is a product with a matrix for rows and one for
    columns; it goes band by band of rows, so that only the result grows with the image.
    """
    height, width = frame
    columns = _stretch(boxes[:, 0], boxes[:, 2], width, masks)  # (n, width, S)
    rows = _stretch(boxes[:, 1], boxes[:, 3], height, masks)
    across = masks @ columns.transpose(1, 2)  # (n, S, width)
    pasted = torch.zeros((len(masks), height, width), dtype=torch.bool, device=masks.device)
    step = max(BAND // max(len(masks) * width, 1), 1)
    for top in range(0, height, step):
        pasted[:, top : top + step] = rows[:, top : top + step] @ across >= threshold
    return pasted


def _stretch(start: Tensor, stop: Tensor, pixels: int, masks: Tensor) -> Tensor:
    """The weight (n, pixels, S) of each of a mask's S cells in each pixel, where they reach from start to stop."""
    cells = torch.arange(masks.shape[-1], device=masks.device, dtype=masks.dtype)
    centres = torch.arange(pixels, device=masks.device, dtype=masks.dtype) + 0.5
    position = (centres - start[:, None]) / (stop - start)[:, None] * masks.shape[-1] - 0.5  # inf for an empty box
    return (1 - (position[..., None] - cells).abs()).clamp(min=0)
