"""The update rule of training, with one meaning in every backend: what happens to each tensor, in numbers.

It is PyTorch's SGD. MXNet's own puts the learning rate into the velocity, so that both give the same
weights only while the rate is constant: https://pytorch.org/docs/stable/generated/torch.optim.SGD.html
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from resnest.specs.blocks import Layer


@dataclass(frozen=True)
class UpdateRule:
    """Stochastic gradient descent with momentum, said for each tensor by its canonical name.

    With `g = gradient + decay * weight` a step does `velocity = momentum * velocity + g`, then
    `weight -= rate * velocity`, or with `nesterov` `weight -= rate * (g + momentum * velocity)`. Tensors in `undecayed`
    have no decay, those in `frozen` are never changed, and `rates` multiplies the learning rate of those it names.
    `clip` is the largest norm of all gradients together; longer ones are shortened to it first, before the decay.
    Raises ValueError, naming field and value, for numbers that make no rule.
    """

    momentum: float = 0.9
    nesterov: bool = False
    decay: float = 1e-4
    undecayed: Collection[str] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    frozen: Collection[str] = ()
    clip: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum!r} must be at least 0 and below 1")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov looks ahead along the velocity: give a momentum above 0")
        if not self.decay >= 0:
            raise ValueError(f"decay={self.decay!r} must be at least 0")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip={self.clip!r} must be above 0")

    def decay_of(self, name: str) -> float:
        return 0.0 if name in self.undecayed else self.decay

    def rate_of(self, name: str) -> float:
        """What the learning rate is multiplied with for the tensor called `name`."""
        return self.rates.get(name, 1.0)


class Named(Protocol):
    """A network whose tensors have names: any spec."""

    def layers(self) -> Iterator[Layer]: ...

    def tensors(self) -> dict[str, tuple[int, ...]]: ...


STEM = ("conv1.", "bn1.", "stem.")
"""What the names of a stem's tensors begin with, within a backbone."""


def within_backbone(name: str) -> str:
    """What a tensor of a backbone is called there, where a network of another task has it in front of its own."""
    return name.removeprefix("backbone.")


def trained(spec: Named) -> list[str]:
    """The tensors that have a gradient, in checkpoint order."""
    return [name for name in spec.tensors() if ".running_" not in name]


def norms_and_biases(spec: Named) -> frozenset[str]:
    """Every norm's scale and shift and every bias, the stem's and the shortcuts' and the classifier's too."""
    shapes = spec.tensors()
    return frozenset(name for name in trained(spec) if len(shapes[name]) == 1)


def layer_rates(spec: Named, decay: float) -> dict[str, float]:
    """The learning rate's factor of every tensor: 1 on top of the backbone, times `decay` for each block further down.

    The stem is one step below the first block. Raises ValueError unless `decay` is in (0, 1].
    """
    if not 0 < decay <= 1:
        raise ValueError(f"layer_decay={decay!r} must be above 0 and at most 1")
    names = [within_backbone(name) for name in spec.tensors()]
    blocks = dict.fromkeys(".".join(name.split(".")[:2]) for name in names if name.startswith("layer"))
    depths = {block: depth for depth, block in enumerate(blocks, start=1)}

    def depth(name: str) -> int:
        name = within_backbone(name)
        return 0 if name.startswith(STEM) else depths.get(".".join(name.split(".")[:2]), len(blocks) + 1)

    return {name: decay ** (len(blocks) + 1 - depth(name)) for name in trained(spec)}


def frozen_tensors(spec: Named, stages: int, norms: bool = False) -> frozenset[str]:
    """What stays as it is when the first `stages` are frozen: 1 is the stem, 2 the stem and stage 1, up to 5.

    With `norms` every batch norm's scale and shift stay too. Raises ValueError for a number that is no stage's.
    """
    if stages not in range(6):
        raise ValueError(f"freeze_stages={stages!r} must be from 0 (nothing) to 5 (the stem and stages 1 to 4)")
    prefixes = (*STEM, "layer1.", "layer2.", "layer3.", "layer4.")[: len(STEM) - 1 + stages if stages else 0]
    scales = {f"{layer.norm}.{tensor}" for layer in spec.layers() if layer.norm for tensor in ("weight", "bias")}
    return frozenset(
        name for name in trained(spec) if within_backbone(name).startswith(prefixes) or (norms and name in scales)
    )


def frozen_norms(spec: Named, stages: int, norms: bool = False) -> tuple[str, ...]:
    """The batch norms that keep their running statistics when `frozen_tensors` freezes their scales."""
    frozen = frozen_tensors(spec, stages, norms)
    return tuple(layer.norm for layer in spec.layers() if layer.norm and f"{layer.norm}.weight" in frozen)
