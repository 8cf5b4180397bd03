"""One step of training after the other: what `resnest.backends.training` asks of PyTorch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from resnest.backends.training import Batch, Setup, Training, process_memory, with_mean_statistics
from resnest.specs.networks import Network
from resnest.specs.update import UpdateRule
from resnest.torch.device import device_of
from resnest.torch.layers.dropblock import DropBlock
from resnest.torch.networks.table import NETWORKS
from resnest.torch.training.average import Average
from resnest.torch.training.processes import Processes
from resnest.torch.training.tasks import TASKS
from resnest.torch.training.update import Update
from resnest.torch.weights import canonical_names, get_weights, load_weights

if TYPE_CHECKING:  # mypy holds this module against what is asked of it
    from resnest.torch.training import trainer

    _: Training = trainer

CAST = {"float16": torch.float16, "bfloat16": torch.bfloat16}


class Trainer:
    """See `resnest.backends.training.Trainer`."""

    def __init__(self, spec: Network, weights: Mapping[str, np.ndarray], rule: UpdateRule, setup: Setup):
        check_spec(spec)
        check_setup(setup)
        self.spec = spec
        self.task = TASKS[type(spec)]
        self.setup = setup
        self.device = device_of(setup.device)
        self.dtype = torch.float64 if setup.dtype == "float64" else torch.float32
        self.layout = torch.contiguous_format if setup.channels_last is False else torch.channels_last
        self.processes = Processes(self.device)
        self.model = self._build(weights, rule)
        names = canonical_names(self.model)
        modules = {name: attribute.rpartition(".")[0] for attribute, name in names.items()}
        self.frozen_norms = [modules[f"{norm}.running_mean"] for norm in setup.frozen_norms]
        parameters = {names[name]: parameter for name, parameter in self.model.named_parameters()}
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=setup.dtype == "float16")
        self.update = Update(parameters, rule, self.scaler)
        self.average = None if setup.average is None else Average(self.model, setup.average)
        self.forward = self.processes.wrap(self.model)
        if setup.compiled:
            self.forward = torch.compile(self.forward)
        self._train()

    def step(self, batches: Sequence[Batch], rate: float, key: int) -> torch.Tensor:
        torch.manual_seed(key)
        for weight in self.update.parameters.values():
            weight.grad = None
        losses = []
        with self.processes.watched():
            for number, (images, targets) in enumerate(batches, start=1):
                with self._alone(number < len(batches)):
                    with self._cast():
                        loss = self.task.loss(self.forward, images, targets, self._place) / len(batches)
                    self.scaler.scale(loss).backward()
                losses.append(loss.detach())
        self.update.step(rate)
        if self.average is not None:
            self.average.update()
        return torch.stack(losses).sum()

    def value(self, loss: torch.Tensor) -> float:
        return float(self.total(loss.cpu().numpy().reshape(1))[0] / self.processes.number)

    def predict(self, images: Any, averaged: bool = False) -> Any:
        network = self._network(averaged).eval()
        with torch.no_grad(), self._cast():
            predicted = self.task.predict(network, images, self._place)
        self._train()
        return predicted

    def drop_blocks(self, prob: float) -> None:
        for module in self.model.modules():
            if isinstance(module, DropBlock):
                module.prob.fill_(prob)

    def weights(self, averaged: bool = False) -> dict[str, np.ndarray]:
        return with_mean_statistics(get_weights(self._network(averaged)), self.total, self.processes.number)

    def state(self) -> dict[str, dict[str, np.ndarray]]:
        state = {"weights": self.weights(), "velocity": self.update.state()}
        if self.average is not None:
            averages = self.average.state()
            state["average"] = with_mean_statistics(averages, self.total, self.processes.number)
        if self.scaler.is_enabled():
            state["scaler"] = {name: np.array([value], np.float64) for name, value in self.scaler.state_dict().items()}
        return state

    def load_state(self, state: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        load_weights(self.model, state["weights"])
        self.update.load_state(state["velocity"])
        if self.average is not None:
            self.average.load_state(state["average"])
        if self.scaler.is_enabled():
            kinds = {name: type(value) for name, value in self.scaler.state_dict().items()}
            self.scaler.load_state_dict({name: kinds[name](array[0]) for name, array in state["scaler"].items()})

    def total(self, numbers: np.ndarray) -> np.ndarray:
        return self.processes.total(numbers)

    def memory(self) -> int:
        return torch.cuda.max_memory_reserved(self.device) if self.device.type == "cuda" else process_memory()

    def _network(self, averaged: bool) -> Any:
        return self.average.network if averaged and self.average is not None else self.model

    def _build(self, weights: Mapping[str, np.ndarray], rule: UpdateRule) -> Any:
        with torch.device("meta"):
            model: Any = NETWORKS[type(self.spec)](self.spec, **self.setup.dropout).to(self.dtype)
        load_weights(model, weights)
        if self.setup.sync_norms:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        names = canonical_names(model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(names[name] not in rule.frozen)
        return model.to(self.device, memory_format=self.layout)

    def _train(self) -> None:
        self.model.train()
        for norm in self.frozen_norms:
            self.model.get_submodule(norm).eval()

    def _cast(self) -> Any:
        return torch.autocast(self.device.type, CAST.get(self.setup.dtype), enabled=self.setup.dtype in CAST)

    def _alone(self, more: bool) -> Any:
        """Inside, the processes keep their gradients for themselves where there are `more` batches in the step."""
        return self.forward.no_sync() if more and self.processes.number > 1 else contextlib.nullcontext()

    def _place(self, array: Any) -> torch.Tensor:
        tensor = torch.from_numpy(array) if isinstance(array, np.ndarray) else array
        if tensor.is_floating_point():
            tensor = tensor.to(self.device, self.dtype, non_blocking=True)
        layout = self.layout if tensor.ndim == 4 else torch.contiguous_format
        return tensor.to(self.device, non_blocking=True).contiguous(memory_format=layout)


def check_spec(spec: Network) -> None:
    """Raise ValueError, naming it, for a network that PyTorch cannot train here."""
    if type(spec) not in TASKS:
        raise ValueError(f"{spec.name} cannot be trained here: classifiers and detectors can")


def check_setup(setup: Setup) -> None:
    """Raise ValueError, naming it, for what PyTorch cannot do."""
    device = device_of(setup.device)
    if setup.sync_norms and device.type == "cpu":
        raise ValueError("sync_bn needs GPUs: PyTorch shares no batch norm's statistics between CPU processes")


def open_trainer(spec: Network, weights: Mapping[str, np.ndarray], rule: UpdateRule, setup: Setup) -> Trainer:
    """The network with these canonical weights, ready for its first step."""
    return Trainer(spec, weights, rule, setup)
