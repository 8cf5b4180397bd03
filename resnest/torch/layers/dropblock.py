"""DropBlock (arXiv 1810.12890): whole squares of a feature map are dropped in training."""

# No `from __future__ import annotations`: TorchScript reads the type of `DropBlock.prob`, not its name.

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnest.specs.blocks import DROPBLOCK_SIZE
from resnest.specs.schedule import check_probability, linear


class DropBlock(nn.Module):
    """Zero squares of `block_size` pixels so that each pixel is dropped with probability `prob`.

    Takes and gives (N, C, H, W) of any height and width; the identity in eval mode. What is
    kept is scaled by (all pixels / kept pixels). Squares start up to `block_size - 1` pixels
    outside the map, so that the probability is the same at the border as in the middle. `mask` is one for each
    "sample", or one for the whole "batch".
    """

    prob: Tensor

    def __init__(self, prob: float, block_size: int = DROPBLOCK_SIZE, mask: str = "sample"):
        super().__init__()
        self.block_size = block_size
        self.mask = mask
        self.first_prob = check_probability(prob)
        # A tensor, not a number, so that a compiled model sees the scheduler's changes.
        self.register_buffer("prob", torch.tensor(self.first_prob, device="cpu"), persistent=False)

    def reset_parameters(self) -> None:
        """Drop with the first probability again; after `to_empty` there is none."""
        self.prob.fill_(self.first_prob)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        size = self.block_size
        # A pixel survives when none of the size * size seeds that reach it drops.
        gamma = 1 - (1 - self.prob.float()) ** (1 / (size * size))
        n, c, h, w = x.shape
        n = n if self.mask == "sample" else 1
        # Drawn by a method of x, which a tracer sees; torch.rand does not take sizes that are still open.
        seeds = x.new_empty((n, c, h + size - 1, w + size - 1), dtype=torch.float32).uniform_() < gamma
        keep = 1 - F.max_pool2d(seeds.to(x.dtype), size, stride=1)
        return x * (keep / keep.mean().clamp(min=1 / keep.numel()))

    def extra_repr(self) -> str:
        return f"prob={self.prob.item():g}, block_size={self.block_size}, mask={self.mask}"


class DropBlockScheduler:
    """Move the drop probability of every DropBlock in `model` from `start` to `stop` in `total_steps` equal steps.

    Raises ValueError for a model without any.
    """

    def __init__(self, model: nn.Module, total_steps: int, *, start: float = 0.0, stop: float = 0.1):
        self.blocks = [module for module in model.modules() if isinstance(module, DropBlock)]
        if not self.blocks:
            raise ValueError("there is no DropBlock in this model: build it with dropblock_prob above 0")
        self.prob_at = linear(total_steps, start, stop)
        self.steps = 0
        self._set(self.prob_at(0))

    def step(self) -> float:
        """Go one step further and give the new probability; past `total_steps` it stays at `stop`."""
        self.steps += 1
        return self._set(self.prob_at(self.steps))

    def state_dict(self) -> dict[str, int]:
        """What resuming needs: the steps gone."""
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where `state` was taken: the probability is that of its step at once."""
        self.steps = state["steps"]
        self._set(self.prob_at(self.steps))

    def _set(self, prob: float) -> float:
        for block in self.blocks:
            block.prob.fill_(prob)
        return prob
