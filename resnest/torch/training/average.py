"""A moving average of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from resnest.torch.weights import get_weights, load_weights


class Average:
    """The exponential moving average of `model`'s weights and running statistics, of which each step keeps `decay`.

    The first update takes the weights as they are. `network` predicts with the average.
    """

    def __init__(self, model: Any, decay: float):
        self.averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self.model = model
        self.network = self.averaged.module.eval()

    def update(self) -> None:
        self.averaged.update_parameters(self.model)

    def state(self) -> dict[str, np.ndarray]:
        """The averages under the weights' names, and how many updates they are of."""
        return {**get_weights(self.network), "updates": self.averaged.n_averaged.cpu().numpy().reshape(1)}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        load_weights(self.network, {name: array for name, array in state.items() if name != "updates"})
        self.averaged.n_averaged.copy_(torch.from_numpy(state["updates"])[0])
