"""Stochastic depth (arXiv 1603.09382): whole blocks are left out in training, each image for itself."""

from torch import Tensor, nn

from resnest.specs.schedule import check_probability


class DropPath(nn.Module):
    """Zero each image's (N, C, H, W) with probability `prob` in training and scale what is kept; else the identity."""

    def __init__(self, prob: float):
        super().__init__()
        self.prob = check_probability(prob)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(1 - self.prob)
        return x * (keep / (1 - self.prob))

    def extra_repr(self) -> str:
        return f"prob={self.prob:g}"
