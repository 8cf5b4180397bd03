"""One step of training after the other: what `resnest.backends.training` asks of MXNet Gluon."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from resnest.backends.training import Batch, Setup, Training, process_memory, with_mean_statistics
from resnest.gluon._mxnet import mx, without_notes
from resnest.gluon.device import device_of
from resnest.gluon.layers.dropblock import DropBlock
from resnest.gluon.networks.table import NETWORKS
from resnest.gluon.training.average import Average
from resnest.gluon.training.processes import Processes
from resnest.gluon.training.tasks import TASKS
from resnest.gluon.training.update import Update
from resnest.gluon.weights import canonical_names, get_weights, load_weights
from resnest.specs.networks import Network
from resnest.specs.update import UpdateRule

if TYPE_CHECKING:  # mypy holds this module against what is asked of it
    from resnest.gluon.training import trainer

    _: Training = trainer


class Trainer:
    """See `resnest.backends.training.Trainer`."""

    def __init__(self, spec: Network, weights: Mapping[str, np.ndarray], rule: UpdateRule, setup: Setup):
        check_spec(spec)
        check_setup(setup)
        self.spec = spec
        self.task = TASKS[type(spec)]
        self.setup = setup
        self.device = device_of(setup.device)
        self.dtype = setup.dtype
        self.model = self._build(weights, rule)
        names = canonical_names(self.model)
        parameters = {names[name]: weight for name, weight in self.model._collect_params_with_prefix().items()}
        self.update = Update({name: p for name, p in parameters.items() if p.grad_req != "null"}, rule)
        self.average = None if setup.average is None else Average(self.model, setup.average)
        self.processes = Processes()
        self.begun = False

    def step(self, batches: Sequence[Batch], rate: float, key: int) -> Any:
        if self.setup.dropout:
            mx.random.seed(key)
        gradients = [weight.grad() for weight in self.update.parameters.values()]
        if self.setup.accumulate > 1:
            for gradient in gradients:
                gradient[:] = 0
        with contextlib.nullcontext() if self.begun else without_notes():
            losses = [self._backward(images, targets, len(batches)) for images, targets in batches]
        self.begun = True
        self.processes.average(gradients)
        self.update.step(rate)
        if self.average is not None:
            mx.nd.waitall()  # see `_network`
            self.average.update()
        return mx.nd.add_n(*losses)

    def _backward(self, images: Any, targets: Any, parts: int) -> Any:
        with mx.autograd.record():
            loss = self.task.loss(self.model, images, targets, self._place) / parts
        loss.backward()
        return loss.detach()

    def value(self, loss: Any) -> float:
        return float(self.total(loss.asnumpy().reshape(1))[0] / self.processes.number)

    def predict(self, images: Any, averaged: bool = False) -> Any:
        return self.task.predict(self._network(averaged), images, self._place)

    def drop_blocks(self, prob: float) -> None:
        blocks: list[DropBlock] = []
        self.model.apply(lambda block: blocks.append(block) if isinstance(block, DropBlock) else None)
        if any(block.prob != prob for block in blocks):
            for block in blocks:
                block.prob = prob
            self.model.apply(lambda block: block._clear_cached_op())  # MXNet fixes the probability in its graph

    def weights(self, averaged: bool = False) -> dict[str, np.ndarray]:
        return with_mean_statistics(get_weights(self._network(averaged)), self.total, self.processes.number)

    def state(self) -> dict[str, dict[str, np.ndarray]]:
        state = {"weights": self.weights(), "velocity": self.update.state()}
        if self.average is not None:
            averages = self.average.state()
            state["average"] = with_mean_statistics(averages, self.total, self.processes.number)
        return state

    def load_state(self, state: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        load_weights(self.model, state["weights"])
        self.update.load_state(state["velocity"])
        if self.average is not None:
            self.average.load_state(state["average"])

    def total(self, numbers: np.ndarray) -> np.ndarray:
        return self.processes.total(numbers)

    def memory(self) -> int:
        if self.device.device_type == "cpu":
            return process_memory()
        free, total = mx.context.gpu_memory_info(self.device.device_id)
        return total - free

    def _network(self, averaged: bool) -> Any:
        # A hybridized network's backward pass writes running statistics, and MXNet's engine does not know: who reads
        # them at once gets the old ones.
        mx.nd.waitall()
        return self.average.network if averaged and self.average is not None else self.model

    def _build(self, weights: Mapping[str, np.ndarray], rule: UpdateRule) -> Any:
        model: Any = NETWORKS[type(self.spec)](self.spec, **self.setup.dropout)
        model.cast(self.dtype)
        load_weights(model, weights, ctx=self.device)
        names = canonical_names(model)
        parameters = {names[name]: weight for name, weight in model._collect_params_with_prefix().items()}
        for name in rule.frozen:
            parameters[name].grad_req = "null"
        if self.setup.accumulate > 1:
            for weight in parameters.values():
                if weight.grad_req != "null":
                    weight.grad_req = "add"
        norms = {parameters[f"{norm}.running_mean"].name for norm in self.setup.frozen_norms}
        model.apply(lambda block: _freeze(block, norms))
        model.hybridize(static_alloc=True, static_shape=True)
        return model

    def _place(self, array: Any) -> Any:
        return mx.nd.array(array, ctx=self.device, dtype=self.dtype)


def _freeze(block: Any, norms: set[str]) -> None:
    """Have a batch norm whose running mean is among `norms` use its running statistics in training too."""
    if isinstance(block, mx.gluon.nn.BatchNorm) and block.running_mean.name in norms:
        block._kwargs["use_global_stats"] = True


def check_spec(spec: Network) -> None:
    """Raise ValueError, naming it, for a network that MXNet cannot train here."""
    if type(spec) not in TASKS:
        raise ValueError(f"{spec.name} is trained in PyTorch alone: leave --backend out, or give --backend torch")


def check_setup(setup: Setup) -> None:
    """Raise ValueError, naming it, for what MXNet cannot do."""
    way_out = "leave it out, or train with --backend torch"
    if setup.dtype not in ("float32", "float64"):
        raise ValueError(f"dtype={setup.dtype} is not for MXNet, which trains in float32 and float64: {way_out}")
    if setup.channels_last:
        raise ValueError(f"channels_last is not for MXNet, which knows one layout: {way_out}")
    if setup.compiled:
        raise ValueError(f"compile is not for MXNet, whose networks are hybridized anyway: {way_out}")
    if setup.sync_norms:
        raise ValueError(f"sync_bn is not for MXNet, whose norms share nothing between processes: {way_out}")


def open_trainer(spec: Network, weights: Mapping[str, np.ndarray], rule: UpdateRule, setup: Setup) -> Trainer:
    """The network with these canonical weights, ready for its first step."""
    return Trainer(spec, weights, rule, setup)
