"""The blocks of a stage, with all that they compute kept for the way back, or only what goes in (arXiv 1604.06174)."""

# No `from __future__ import annotations`: torch.fx copies them, and TorchScript reads types there, not names.

from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

COMPILED_STATISTICS_ONCE = torch.__version__ >= "2.9"
"""Before, `torch.compile` has a checkpointed block move its running statistics twice: there it is left uncompiled."""


class Stage(nn.Sequential):
    """The blocks of a stage, one after the other.

    With `grad_checkpointing` training keeps each block's input alone, and runs the block again on the way back.
    """

    grad_checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102  # TorchScript needs an `if` of its own to leave it out
            if self.grad_checkpointing and torch.is_grad_enabled():
                return self.forward_checkpointed(x)
        for block in self:
            x = block(x)
        return x

    def forward_checkpointed(self, x: Tensor) -> Tensor:
        if not torch.compiler.is_compiling():
            return self.forward_twice(x)
        if not COMPILED_STATISTICS_ONCE:
            return torch.compiler.disable(self.forward_twice)(x)
        for block in self:  # what is computed again are the maps, and statistics once
            x = checkpoint(block, x, use_reentrant=False)
        return x

    def forward_twice(self, x: Tensor) -> Tensor:
        for block in self:
            x = checkpoint(block, x, use_reentrant=False, context_fn=partial(contexts, block))
        return x


def contexts(block: nn.Module) -> tuple[Any, Any]:
    """Around a block's first run, and around its second, for which its statistics have seen the batch already."""
    return nullcontext(), StatisticsKept(block)


class StatisticsKept:
    """While it is entered, batch norms in `block` leave their running statistics as they are."""

    def __init__(self, block: nn.Module):
        self.block = block
        self.held: list[tuple[Any, float | None, Tensor | None]] = []

    def __enter__(self) -> None:
        norms: list[Any] = [m for m in self.block.modules() if m.training and getattr(m, "track_running_stats", False)]
        self.held = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
        for norm in norms:  # it still reads and writes them, as the graph of the first run has noted
            norm.momentum, norm.num_batches_tracked = 0.0, None

    def __exit__(self, *error: object) -> None:
        for norm, momentum, batches in self.held:
            norm.momentum, norm.num_batches_tracked = momentum, batches
