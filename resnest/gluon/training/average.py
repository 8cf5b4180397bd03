"""A moving average of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resnest.gluon.training.update import times
from resnest.gluon.weights import get_weights, load_weights


class Average:
    """The exponential moving average of `model`'s weights and running statistics, of which each step keeps `decay`.

    The first update takes the weights as they are. `network` predicts with the average.
    """

    def __init__(self, model: Any, decay: float):
        self.model = model
        self.share = 1 - decay
        self.updates = 0
        self.network = model.rebuilt(model.spec)
        self.network.cast(model.fc.weight.dtype)
        load_weights(self.network, get_weights(model), ctx=model.fc.weight.list_ctx())
        self.network.collect_params().setattr("grad_req", "null")
        self.network.hybridize(static_alloc=True, static_shape=True)

    def update(self) -> None:
        new, averages = (network._collect_params_with_prefix() for network in (self.model, self.network))
        for name, average in averages.items():
            array, weight = average.data(), new[name].data()
            if self.updates:
                array += times(weight - array, self.share, None)
            else:
                array[:] = weight
        self.updates += 1

    def state(self) -> dict[str, np.ndarray]:
        """The averages under the weights' names, and how many updates they are of."""
        return {**get_weights(self.network), "updates": np.array([self.updates])}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        load_weights(self.network, {name: array for name, array in state.items() if name != "updates"})
        self.updates = int(state["updates"][0])
