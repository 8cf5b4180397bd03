"""DropBlock (arXiv 1810.12890): whole squares of a feature map are dropped in training."""

from __future__ import annotations

from typing import Any

from resnest.gluon._mxnet import mx
from resnest.specs.blocks import DROPBLOCK_SIZE
from resnest.specs.schedule import check_probability, linear


class DropBlock(mx.gluon.HybridBlock):
    """Zero squares of `block_size` pixels so that each pixel is dropped with probability `prob`.

    Takes and gives (N, C, H, W) of any height and width; the identity outside training. What
    is kept is scaled by (all pixels / kept pixels). Squares start up to `block_size - 1` pixels
    outside the map, so that the probability is the same at the border as in the middle. `mask` is one for each
    "sample", or one for the whole "batch".
    """

    def __init__(self, prob: float, block_size: int = DROPBLOCK_SIZE, mask: str = "sample", **kwargs: Any):
        super().__init__(**kwargs)
        self.block_size = block_size
        self.mask = mask
        self.prob = check_probability(prob)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        size = self.block_size
        # A pixel survives when none of the size * size seeds that reach it drops.
        gamma = 1 - (1 - self.prob) ** (1 / (size * size))
        reach = (0, 0, 0, 0, (size - 1) // 2, size // 2, (size - 1) // 2, size // 2)
        like = x if self.mask == "sample" else F.slice_axis(x, axis=0, begin=0, end=1)
        ones = F.pad(F.ones_like(like), mode="constant", constant_value=1, pad_width=reach)
        # Dropout is what knows, in a hybridized graph too, whether this is training; its scale cancels below.
        seeds = F.Dropout(ones, p=gamma)  # 0 where a square is dropped
        keep = -F.Pooling(-seeds, kernel=(size, size), pool_type="max")
        return F.broadcast_mul(x, F.broadcast_div(keep, F.maximum(F.mean(keep), 1e-6)))

    def __repr__(self) -> str:
        return f"DropBlock(prob={self.prob:g}, block_size={self.block_size}, mask={self.mask})"


class DropBlockScheduler:
    """Move the drop probability of every DropBlock in `model` from `start` to `stop` in `total_steps` equal steps.

    A hybridized model is traced anew after each step, because MXNet fixes the probability in
    its graph: step once an epoch rather than once a batch.

    Raises ValueError for a model without any.
    """

    def __init__(self, model: Any, total_steps: int, *, start: float = 0.0, stop: float = 0.1):
        self.model = model
        self.blocks: list[DropBlock] = []
        model.apply(lambda block: self.blocks.append(block) if isinstance(block, DropBlock) else None)
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
        if any(block.prob != prob for block in self.blocks):
            for block in self.blocks:
                block.prob = prob
            self.model.apply(lambda block: block._clear_cached_op())
        return prob
