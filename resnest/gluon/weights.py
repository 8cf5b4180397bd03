"""Canonical weights into and out of an MXNet Gluon model, and the model into and out of a folder or the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from resnest.backends.hub import HubMixin
from resnest.backends.live import built_from_spec, changed, renormed
from resnest.gluon._mxnet import mx
from resnest.gluon.layers.basic import Identity, nn, norm_numbers
from resnest.gluon.layers.drop_path import DropPath
from resnest.gluon.layers.dropblock import DropBlock
from resnest.specs.resnest import ResNeStSpec
from resnest.weights.fold import in_form_of
from resnest.weights.recognition.check import check
from resnest.weights.recognition.tasks import fit, own_names

SyncBatchNorm = mx.gluon.contrib.nn.SyncBatchNorm


def load_weights(model: Any, weights: Mapping[str, np.ndarray], *, ctx: Any = None, copy: bool = True) -> None:
    """Copy canonical `weights` into `model`, in the dtype and on the contexts that it has.

    The model is a ResNeSt or a segmentation network; one that is not initialized gets memory on
    `ctx` on the way, or without `copy` on the CPU that of the arrays where their dtype is the
    model's. Weights for a model in deploy form are folded where they are not yet. Raises
    ValueError, listing them, for tensors that are unknown, missing or misshaped, and for scales that norms with
    `scale=False` would leave out.
    """
    targets = _parameters(model)
    shapes = {name: tuple(parameter.shape) for name, parameter in targets.items()}
    arrays = fit(in_form_of(model.spec, weights), model.spec, shapes)
    for name in _unscaled(model):
        if (arrays[name] != 1).any():
            raise ValueError(f"{name} scales, and this network's norms have scale=False: build it without that")
    for name, target in targets.items():
        source = mx.nd.from_numpy(np.array(arrays[name], target.dtype, order="C", copy=copy))
        if target._data is None:
            _materialise(target, source, ctx)
        else:
            target.set_data(source)
    model.drawn = False


def filled(
    build: Callable[[], Any], weights: Mapping[str, np.ndarray] | None, *, ctx: Any = None, copy: bool = True
) -> Any:
    """The network that `build` makes, with canonical `weights` as in `load_weights`; with None freshly drawn."""
    model = build()
    if weights is None:
        model.initialize(ctx=ctx)
        model.drawn = True
    else:
        load_weights(model, weights, ctx=ctx, copy=copy)
    return model


def get_weights(model: Any) -> dict[str, np.ndarray]:
    """A copy of the model's weights: canonical name -> array, in checkpoint order.

    On several contexts, each of which trained with statistics of its own, they are the means, as in
    the files that MXNet saves.
    """
    arrays = {name: parameter._reduce().asnumpy() for name, parameter in _parameters(model).items()}
    for name in _unscaled(model):
        arrays[name][:] = 1
    return arrays


def norms(model: Any) -> dict[str, dict[str, Any]]:
    """Canonical name of each batch norm -> its epsilon and momentum, as fields of a spec."""
    return {name: norm_numbers(norm) for name, norm in _norms(model).items()}


def _norms(model: Any) -> dict[str, Any]:
    blocks = {ours: theirs.rpartition(".")[0] for theirs, ours in canonical_names(model).items()}
    owners = {layer.norm: blocks.get(f"{layer.norm}.running_var") for layer in model.spec.layers()}
    return {norm: _child(model, path) for norm, path in owners.items() if norm and path}


def _unscaled(model: Any) -> list[str]:
    """The scales of batch norms with `scale=False`, which MXNet takes for one whatever they hold."""
    return [f"{name}.weight" for name, norm in _norms(model).items() if getattr(norm, "_kwargs", {}).get("fix_gamma")]


def live_spec(model: Any) -> ResNeStSpec:
    """The spec of the network as it is now, with the classes and input channels that it has now.

    Raises ValueError, naming it, for a block that was changed so that no spec says it.
    """
    if any(parameter._data is None for parameter in _parameters(model).values()):
        raise ValueError("this network has no weights yet: initialize it, or load_weights gives it some")
    shapes = _shapes(model)
    spec = model.spec.resized(shapes)
    built = built_from_spec(model, spec)
    for name, block in _descendants(built):
        ours = _child(model, name)
        if not _same_work(ours, block):
            raise changed(name, ours, block, spec)
    check(shapes, _shapes(built), spec.name)
    return spec


def _same_work(ours: Any, built: Any) -> bool:
    """Whether a block predicts what the one that was `built` does, given its arrays; `norms` has a norm's numbers."""
    if isinstance(built, nn.HybridSequential):
        return _computes_as(ours, type(built)) and len(ours) == len(built)
    if isinstance(built, (Identity, nn.Dropout)):  # where nothing happens in prediction
        return _computes_as(ours, Identity, nn.Dropout, DropBlock, DropPath)
    if isinstance(built, nn.BatchNorm):
        return _computes_as(ours, nn.BatchNorm, SyncBatchNorm) and not getattr(ours, "fuse_relu", False)
    return _computes_as(ours, type(built)) and _numbers(ours) == _numbers(built)


def _computes_as(ours: Any, *kinds: Any) -> bool:
    """Whether a block is of one of these kinds, and no subclass that computes something else."""

    def has_forward_of(kind: Any) -> bool:
        names = ("forward", "hybrid_forward")  # of a block that is not hybrid the first alone
        kept = (getattr(type(ours), name, None) is getattr(kind, name, None) for name in names)
        return all(kept) and not vars(ours).keys() & {*names}

    return any(isinstance(ours, kind) and has_forward_of(kind) for kind in kinds)


def _numbers(block: Any) -> list[Any]:
    """What a block computes with, wherever blocks of its kind keep it."""
    return [getattr(block, word, None) for word in ("_kwargs", "_act_type", "act", "_beta", "both")]


def _descendants(block: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, child in block._children.items():
        yield f"{prefix}{name}", child
        yield from _descendants(child, f"{prefix}{name}.")


def _child(block: Any, path: str) -> Any:
    """The block at a path such as `layer1.0.bn1`, or None."""
    for name in path.split("."):
        block = None if block is None else block._children.get(name)
    return block


class OnContexts:
    """A network that a builder has initialized already, and that MXNet's own verbs still put where they are told."""

    drawn = False
    """Whether the values are the builder's own first ones."""

    def initialize(self, init: Any = None, ctx: Any = None, verbose: bool = False, force_reinit: bool = False) -> None:
        """Draw first values on `ctx`, one context or several, with `init` where a layer has no rule of its own.

        What a builder drew is drawn anew; weights that were loaded stay, and move to `ctx`.
        """
        anew = force_reinit or self.drawn
        if anew or not self._moved(ctx):
            blocks: Any = super()
            blocks.initialize(mx.init.Uniform() if init is None else init, ctx, verbose, anew)
        self.drawn = False

    def load_parameters(self, filename: str, ctx: Any = None, **options: Any) -> None:
        """Load what `save_parameters` wrote, onto `ctx`, one context or several."""
        self._moved(ctx)
        blocks: Any = super()
        blocks.load_parameters(filename, ctx, **options)
        self.drawn = False

    def _moved(self, ctx: Any) -> bool:
        """Move what is initialized to `ctx`; whether it is."""
        network: Any = self
        parameters = network.collect_params()
        initialized = all(parameter._data is not None for parameter in parameters.values())
        if initialized and ctx is not None:
            parameters.reset_ctx(ctx)
        return initialized


class SavedModel(HubMixin):
    """`save_pretrained`, `from_pretrained` (on the contexts `ctx`) and `push_to_hub`."""

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
        words = {word: value for word, value in options.items() if word != "ctx"}
        return filled(partial(cls.from_spec, spec, **words), arrays, ctx=options.get("ctx"), copy=False)


def canonical_names(model: Any) -> dict[str, str]:
    """Structural name, as `save_parameters` writes it -> canonical name, in checkpoint order."""
    names = own_names(model.spec, "gluon", list(model._collect_params_with_prefix()))
    return {theirs: ours for ours, theirs in names.items()}


def _parameters(model: Any) -> dict[str, Any]:
    parameters = model._collect_params_with_prefix()
    return {canonical: parameters[name] for name, canonical in canonical_names(model).items()}


def _shapes(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(parameter.shape) for name, parameter in _parameters(model).items()}


class _Owned:
    """An array that a parameter takes as its own where it would take a copy."""

    def __init__(self, array: Any):
        self.array = array

    def copyto(self, ctx: Any) -> Any:
        return self.array if ctx == self.array.context else self.array.copyto(ctx)


def _materialise(parameter: Any, array: Any, ctx: Any) -> None:
    """Give `parameter` its first memory; Gluon's own way fills it twice before the weights come."""
    if ctx is None:
        ctx = mx.context.current_context()
    contexts = [ctx] if isinstance(ctx, mx.Context) else ctx
    grad_req = parameter.grad_req
    if contexts != [array.context] or grad_req == "null":
        parameter._init_impl(_Owned(array), contexts)
        return
    # The gradient's zeros are NumPy's, which the system hands out when the first gradient is written:
    # a network that only predicts never takes that half of its memory.
    parameter._grad_req = "null"
    parameter._init_impl(_Owned(array), contexts)
    parameter._grad_req = grad_req
    parameter._grad = [mx.nd.from_numpy(np.zeros(array.shape, array.dtype))]
    mx.autograd.mark_variables(parameter.list_data(), parameter._grad, grad_req)
