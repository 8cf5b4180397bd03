"""`resnest.specs.update.UpdateRule` in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnest.specs.update import UpdateRule


class Update:
    """The rule at work on `parameters`, canonical name -> tensor with a gradient; the frozen ones are left out.

    `scaler` says how much larger the loss was made than it is; where a gradient overflowed a step changes nothing.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], rule: UpdateRule, scaler: Any = None):
        self.rule = rule
        self.scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
        self.parameters = {name: weight for name, weight in parameters.items() if name not in rule.frozen}
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, weight in self.parameters.items():
            groups.setdefault((rule.decay_of(name), rule.rate_of(name)), []).append(weight)
        # One pass over each tensor instead of three, for the same numbers.
        self.optimizer = torch.optim.SGD(
            [{"params": weights, "weight_decay": decay, "factor": rate} for (decay, rate), weights in groups.items()],
            lr=0.0,
            momentum=rule.momentum,
            nesterov=rule.nesterov,
            fused=True,
        )

    def step(self, rate: float) -> None:
        """Change the weights by their gradients, at the learning rate `rate`."""
        if self.rule.clip is not None:
            self.scaler.unscale_(self.optimizer)
            shorten([weight.grad for weight in self.parameters.values() if weight.grad is not None], self.rule.clip)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def state(self) -> dict[str, np.ndarray]:
        """The velocity of each parameter, by its name."""
        return {name: self._velocity(weight).cpu().numpy().copy() for name, weight in self.parameters.items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        if not self.rule.momentum:
            return
        for name, weight in self.parameters.items():
            velocity = torch.empty_like(weight)
            velocity.copy_(torch.from_numpy(state[name]))
            self.optimizer.state[weight]["momentum_buffer"] = velocity

    def _velocity(self, weight: nn.Parameter) -> Tensor:
        velocity: Any = self.optimizer.state[weight].get("momentum_buffer")
        return torch.zeros_like(weight) if velocity is None else velocity


def shorten(gradients: list[Tensor], longest: float) -> None:
    """Scale all gradients down together, where their common norm is above `longest`."""
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))
    factor = (longest / (norm + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)
