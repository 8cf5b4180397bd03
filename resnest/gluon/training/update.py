"""`resnest.specs.update.UpdateRule` in MXNet, in the arithmetic of its arrays.

MXNet's own optimizers mean something else (the learning rate is inside of the velocity), and pass their
numbers as float32, in float64 too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resnest.gluon._mxnet import mx
from resnest.specs.update import UpdateRule


class Update:
    """The rule at work on `parameters`, canonical name -> parameter with a gradient; the frozen ones are left out."""

    def __init__(self, parameters: Mapping[str, Any], rule: UpdateRule):
        self.rule = rule
        self.parameters = {name: weight for name, weight in parameters.items() if name not in rule.frozen}
        arrays = {name: weight.data() for name, weight in self.parameters.items()}
        self.velocities = {name: mx.nd.zeros_like(array) for name, array in arrays.items()}
        # Products go here: fresh memory for each would take longer than the arithmetic.
        largest = max(arrays.values(), key=lambda array: array.size)
        scratch = mx.nd.empty(largest.size, ctx=largest.context, dtype=largest.dtype)
        self.scratch = {name: scratch[: array.size].reshape(array.shape) for name, array in arrays.items()}

    def step(self, rate: float) -> None:
        """Change the weights by their gradients, at the learning rate `rate`."""
        if self.rule.clip is not None:
            shorten([weight.grad() for weight in self.parameters.values()], self.rule.clip)
        momentum = self.rule.momentum
        for name, parameter in self.parameters.items():
            weight, gradient = parameter.data(), parameter.grad()
            velocity, scratch = self.velocities[name], self.scratch[name]
            decay = self.rule.decay_of(name)
            if decay:
                gradient += times(weight, decay, scratch)
            velocity *= momentum
            velocity += gradient
            if self.rule.nesterov:
                gradient += times(velocity, momentum, scratch)
                weight -= times(gradient, rate * self.rule.rate_of(name), scratch)
            else:
                weight -= times(velocity, rate * self.rule.rate_of(name), scratch)

    def state(self) -> dict[str, np.ndarray]:
        """The velocity of each parameter, by its name."""
        return {name: velocity.asnumpy() for name, velocity in self.velocities.items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        for name, velocity in self.velocities.items():
            velocity[:] = mx.nd.array(state[name], dtype=velocity.dtype)


def shorten(gradients: list[Any], longest: float) -> None:
    """Scale all gradients down together, where their common norm is above `longest`."""
    norm = mx.nd.sqrt(mx.nd.add_n(*[mx.nd.sum(gradient * gradient) for gradient in gradients]))
    factor = mx.nd.minimum(longest / (norm + 1e-6), 1.0)
    for gradient in gradients:
        gradient *= factor


def times(array: Any, number: float, out: Any) -> Any:
    """The product, in the memory `out`; `number` is not rounded to float32 on the way."""
    return mx.nd._internal._mul_scalar(array, scalar=number, out=out)
