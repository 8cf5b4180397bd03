"""Canonical weights into and out of a PyTorch model, and the model into and out of a folder or the hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from resnest.backends.hub import HubMixin
from resnest.backends.live import built_from_spec, changed, renormed
from resnest.specs.resnest import ResNeStSpec
from resnest.torch.layers.basic import ACTIVATIONS, norm_numbers
from resnest.torch.layers.drop_path import DropPath
from resnest.torch.layers.dropblock import DropBlock
from resnest.torch.layers.global_pool import AverageMaxPool
from resnest.weights.fold import in_form_of
from resnest.weights.names.dialect import NOT_WEIGHTS
from resnest.weights.recognition.check import check
from resnest.weights.recognition.tasks import fit, own_names


def load_weights(model: Any, weights: Mapping[str, np.ndarray], *, copy: bool = True) -> None:
    """Copy canonical `weights` into `model`, in the dtype and on the device that it has.

    The model is a ResNeSt or a segmentation network; one on the meta device gets memory of its
    own on the way, or without `copy` that of the arrays where their dtype is the model's. Weights
    for a model in deploy form are folded where they are not yet. A model in shards (FSDP2) takes what the first
    process has, and all processes have to load together. Raises ValueError, listing them,
    for tensors that are unknown, missing or misshaped, and where two that are tied differ.
    """
    model = unwrapped(model)
    attributes = _attributes(model)
    state = model.state_dict(keep_vars=True)
    targets = {name: state[attribute] for name, attribute in attributes.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in targets.items()}
    arrays = fit(in_form_of(model.spec, weights), model.spec, shapes)
    owners: dict[int, str] = {}
    for name, target in targets.items():
        owner = owners.setdefault(id(target), name)
        if owner != name and not np.array_equal(arrays[owner], arrays[name]):
            raise ValueError(f"{owner} and {name} are one tensor in this network, and two in these weights")
    for name, target in targets.items():
        source = torch.from_numpy(np.require(arrays[name], requirements=("C", "W")))
        if target.is_meta:
            _materialise(model, attributes[name], source.to(target.dtype, copy=copy))
        else:
            with torch.no_grad():
                target.copy_(_dealt_out(source, target))
    for name, counter in model.named_buffers():
        if counter.is_meta:
            _materialise(model, name, torch.zeros_like(counter, device="cpu"))


def filled(build: Callable[[], Any], weights: Mapping[str, np.ndarray] | None, *, copy: bool = True) -> Any:
    """The network that `build` makes, with canonical `weights` as in `load_weights`; with None freshly drawn."""
    if weights is None:
        return build()
    with torch.device("meta"):  # no memory and no random numbers for what is overwritten anyway
        model = build()
    load_weights(model, weights, copy=copy)
    return model


def get_weights(model: Any) -> dict[str, np.ndarray]:
    """A copy of the model's weights: canonical name -> array, in checkpoint order.

    NumPy has no bfloat16, so it comes as float32. Of a compiled, replicated or averaged model they are
    those of the network inside; of one in shards (FSDP2) the whole tensors, for which all processes
    have to ask together.
    """
    model = unwrapped(model)
    state = model.state_dict()
    return {name: _array(state[attribute]) for name, attribute in _attributes(model).items()}


def unwrapped(model: Any) -> Any:
    """The network inside of what `torch.compile`, DataParallel, DDP or an average of weights put around it."""
    for inner in ("_orig_mod", "module"):
        if inner in getattr(model, "_modules", ()):
            return unwrapped(model._modules[inner])
    if not hasattr(model, "spec"):
        raise TypeError(f"{type(model).__name__} is no network of this package, nor is there one in it")
    return model


def norms(model: Any) -> dict[str, dict[str, Any]]:
    """Canonical name of each batch norm -> its epsilon and momentum, as fields of a spec."""
    attributes = _attributes(model)
    tensors = {layer.norm: attributes.get(f"{layer.norm}.running_var") for layer in model.spec.layers()}
    return {
        norm: norm_numbers(model.get_submodule(tensor.rpartition(".")[0]))
        for norm, tensor in tensors.items()
        if norm and tensor
    }


def live_spec(model: Any) -> ResNeStSpec:
    """The spec of the network as it is now, with the classes and input channels that it has now.

    Raises ValueError, naming it, for a module that was changed so that no spec says it.
    """
    if any(tensor.is_meta for tensor in model.parameters()):
        raise ValueError(NO_WEIGHTS)
    shapes = _shapes(model)
    spec = model.spec.resized(shapes)
    with torch.device("meta"):
        built = built_from_spec(model, spec)
    ours = dict(model.named_modules())
    for name, module in built.named_modules():
        if name and not _same_work(ours.get(name), module):
            raise changed(name, ours.get(name), module, spec)
    check(shapes, _shapes(built), spec.name)
    return spec


def _same_work(ours: Any, built: nn.Module) -> bool:
    """Whether a module predicts what the one that was `built` does, given its tensors; `norms` has a norm's numbers."""
    if isinstance(built, nn.Sequential):
        return _computes_as(ours, type(built), nn.Sequential) and len(ours) == len(built)
    if isinstance(built, (nn.Identity, nn.Dropout)):  # where nothing happens in prediction
        return _computes_as(ours, nn.Identity, nn.Dropout, DropBlock, DropPath)
    if isinstance(built, nn.BatchNorm2d):
        return _computes_as(ours, nn.BatchNorm2d, nn.SyncBatchNorm) or _normalises(ours)
    kind = next((kind for kind in TOLD_BY_NUMBERS if isinstance(built, kind)), None)
    if kind is not None:
        return _computes_as(ours, type(built), kind) and _numbers(ours) == _numbers(built)
    return _computes_as(ours, type(built))


TOLD_BY_NUMBERS: tuple[type[nn.Module], ...] = (
    nn.Conv2d,
    nn.Linear,
    nn.AvgPool2d,
    nn.MaxPool2d,
    nn.AdaptiveAvgPool2d,
    nn.AdaptiveMaxPool2d,
    nn.Flatten,
    AverageMaxPool,
    *ACTIVATIONS.values(),
)
"""Modules that do the same when their numbers are the same."""


def _computes_as(ours: Any, *kinds: type[nn.Module]) -> bool:
    """Whether a module is of one of these kinds, and no subclass that computes something else."""

    def has_forward_of(kind: Any) -> bool:
        return all(
            getattr(type(ours), name, None) is getattr(kind, name, None) for name in ("forward", "_conv_forward")
        )

    return any(isinstance(ours, kind) and "forward" not in vars(ours) and has_forward_of(kind) for kind in kinds)


def _normalises(norm: Any) -> bool:
    """Whether a norm of another kind predicts as a batch norm of its tensors does."""
    try:
        mean, var = norm.running_mean, norm.running_var
        spread = torch.linspace(-2, 2, 4 * len(mean), device=mean.device).reshape(1, -1, 2, 2).to(mean.dtype)
        images = mean[:, None, None] + spread * var[:, None, None].sqrt()
        with torch.no_grad():
            expected = F.batch_norm(images, mean, var, norm.weight, norm.bias, eps=norm.eps)
            return torch.allclose(deepcopy(norm).eval()(images), expected, rtol=0.01, atol=0.01)
    except (AttributeError, TypeError, ValueError, RuntimeError):  # of whatever it is
        return False


def _numbers(module: Any) -> dict[str, Any]:
    """What a module computes with; whether it writes over its input is all the same."""
    numbers = {word: getattr(module, word) for word in getattr(module, "__constants__", ()) if word != "inplace"}
    return numbers | {"told": module.extra_repr().replace("inplace=True", "")}


class SavedModel(HubMixin):
    """`save_pretrained`, `from_pretrained` (in eval mode, as all of the hub's models) and `push_to_hub`."""

    @classmethod
    def from_spec(cls, spec: Any, **options: Any) -> Any:
        """A network of this kind for `spec`; to be said anew by a subclass that is built otherwise."""
        return cls(spec=spec, **options)

    def _arrays(self) -> dict[str, np.ndarray]:
        return get_weights(self)

    def _live_spec(self) -> Any:
        return renormed(live_spec(self), norms(self))

    @classmethod
    def _build(cls, spec: Any, options: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
        return filled(partial(cls.from_spec, spec, **options), arrays, copy=False).eval()


NO_WEIGHTS = "this network is on the meta device and has no weights yet: load_weights gives it some"

COMPUTED = ("_orig", "_mask", ".weight_g", ".weight_v")
"""Of what pruning, `weight_norm` and `spectral_norm` compute a weight."""


def canonical_names(model: Any) -> dict[str, str]:
    """Name in the model's state dict -> canonical name."""
    return {attribute: name for name, attribute in _attributes(model).items()}


def _attributes(model: Any) -> dict[str, str]:
    """Canonical name -> name in the model's state dict, in checkpoint order."""
    state = model.state_dict()
    names = [name for name in state if not name.endswith(NOT_WEIGHTS)]
    for name in names:
        if not isinstance(state[name], torch.Tensor) or state[name].is_quantized:
            raise ValueError(
                f"this network is quantized ({name}), and only real numbers are read: quantize a copy of it"
            )
        if ".parametrizations." in name or name.endswith(COMPUTED):
            raise ValueError(
                f"the weights of this network are computed of others, such as {name}: keep what they are now, with"
                " torch.nn.utils.parametrize.remove_parametrizations, torch.nn.utils.prune.remove or whatever takes"
                " back what was done"
            )
    return own_names(model.spec, "torch", names)


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    state = model.state_dict()
    return {name: tuple(state[attribute].shape) for name, attribute in _attributes(model).items()}


def _array(tensor: torch.Tensor) -> np.ndarray:
    if isinstance(tensor, DTensor):
        tensor = tensor.full_tensor()
    if tensor.is_meta:
        raise ValueError(NO_WEIGHTS)
    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.cpu().numpy().copy()


def _dealt_out(tensor: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """`tensor` in the shards that `target` is in, if it is."""
    if not isinstance(target, DTensor):
        return tensor
    whole = tensor.to(device=target.device, dtype=target.dtype)
    return distribute_tensor(whole, target.device_mesh, target.placements)


def _materialise(model: nn.Module, name: str, tensor: torch.Tensor) -> None:
    path, _, attribute = name.rpartition(".")
    module = model.get_submodule(path)
    if attribute in module._parameters:
        setattr(module, attribute, nn.Parameter(tensor, requires_grad=getattr(module, attribute).requires_grad))
    else:
        setattr(module, attribute, tensor)
