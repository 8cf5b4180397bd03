"""A dialect: one way to name the tensors of networks, read in both directions from one table.

Canonical are the names of the authors' published PyTorch checkpoints for a backbone, and
mmsegmentation's for a segmentation network. A `Dialect` is a table of modules that are called
something else, the words it has for the tensors of a batch norm, and how it turns a tensor's
axes. Nothing is ever matched by order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from resnest.weights.names.patterns import Rows, rename

NOT_WEIGHTS = ("num_batches_tracked", "n_averaged", "steps")
"""Tensors that checkpoints hold and no network needs: PyTorch's and mmengine's counters of training steps."""

WRAPPERS = frozenset({"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""What a module is called inside the wrappers of torch.compile, DataParallel and its like, FSDP and checkpoints."""

STATISTICS = ("running_mean", "running_var")

_SYMBOL_WORDS = {"moving_mean": "running_mean", "moving_var": "running_var"}
"""What MXNet's symbols call the statistics that Gluon's exports call as PyTorch does; either is read."""

_TENSORS = ("weight", "bias", "gamma", "beta", *STATISTICS, *_SYMBOL_WORDS)


_FIRST = ".downsample.0"
"""The first module of a shortcut: a pooling, which has no tensors, or the convolution where there is none."""


@dataclass(frozen=True)
class Dialect:
    """One way to name the tensors of a network.

    `modules` pairs canonical module names with this dialect's (`resnest.weights.names.patterns`
    says how a row reads); a module in no row keeps its name. `prefix` stands before all of them
    but `outside`, the modules that are no part of the backbone. `norm` has this
    dialect's words for the tensors of a batch norm. A file is in this dialect when it
    has tensors called as all `signs`, behind whatever other prefix. `axes` says for tensors of so many
    dimensions in which order this dialect keeps the canonical axes: `{4: (2, 3, 1, 0)}` has a
    convolution's weight as (height, width, in, out). `heads` are the heads of a segmentation network that are
    named like this. `symbol` marks the names of MXNet symbols: an `arg:` or `aux:` in front, and no
    dots. In a dialect with `bare_shortcuts` a shortcut of stride 1 has no pooling to count, so its
    modules are one number lower. Without `any_form` there are no names for a network without a deep stem or
    without pooled shortcuts.
    """

    name: str
    signs: tuple[str, ...]
    modules: Rows = ()
    prefix: str = ""
    outside: Mapping[str, str] = field(default_factory=dict)
    norm: Mapping[str, str] = field(default_factory=dict)
    axes: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    heads: tuple[str, ...] = ()
    symbol: bool = False
    bare_shortcuts: bool = False
    any_form: bool = False

    def from_canonical(self, spec: Any) -> dict[str, str]:
        """Canonical name -> this dialect's, for all the tensors of the network `spec`.

        Raises ValueError for a network that the dialect has no names for.
        """
        if not (self.any_form or (spec.deep_stem and spec.avg_down)):
            raise ValueError(f"the dialect {self.name} has names only for networks with deep_stem and avg_down")
        names = list(spec.tensors())
        norms = {name.removesuffix(".running_var") for name in names if name.endswith(".running_var")}
        bare = {block.name for block in spec.blocks() if block.stride == 1} if self.bare_shortcuts else ()
        translated = {}
        for name in names:
            module, _, tensor = name.rpartition(".")
            kind = ("aux:" if tensor in STATISTICS else "arg:") if self.symbol else ""
            word = self.norm.get(tensor, tensor) if module in norms else tensor
            theirs = self.outside.get(module) or self.prefix + rename(_shift_shortcut(module, bare, -1), self.modules)
            translated[name] = f"{kind}{theirs}{'_' if self.symbol else '.'}{word}"
        return translated

    def to_canonical(self, names: Iterable[str]) -> dict[str, str]:
        """This dialect's name -> canonical name, for the tensors of the network.

        Tensors behind another prefix (the heads of a detector or segmenter) are left out.
        Raises ValueError where two tensors are the same one, or of two networks.
        """
        tensors = {name: _plain(name) for name in names if not name.endswith(NOT_WEIGHTS)}
        prefix = self._prefix_in(list(tensors.values()))
        before = prefix.removesuffix(self.prefix)
        outside = {before + theirs: ours for ours, theirs in self.outside.items()}
        rows = tuple((theirs, ours) for ours, theirs in self.modules)
        words = {theirs: ours for ours, theirs in self.norm.items()} | _SYMBOL_WORDS
        split = {name: self._split(plain) for name, plain in tensors.items()}
        # Where every shortcut is a pooled one, its first module has tensors only if the pooling was left out.
        modules = set() if self.any_form else {module.removeprefix(prefix) for module, _ in split.values()}
        bare = {module.removesuffix(_FIRST) for module in modules if module.endswith(_FIRST)}
        translated: dict[str, str] = {}
        for name, (module, tensor) in split.items():
            if module in outside:
                module = outside[module]
            elif module.startswith(prefix):
                module = _shift_shortcut(rename(module.removeprefix(prefix), rows), bare, 1)
            else:
                continue
            translated[name] = f"{module}.{words.get(tensor, tensor)}".removeprefix(".")
        _check_unique(translated)
        return translated

    def speaks(self, names: Collection[str]) -> bool:
        """Whether tensors are called as all `signs`."""
        return bool(self._prefixes_in([_plain(name) for name in names]))

    def turned(self, array: np.ndarray) -> np.ndarray:
        """A canonical array as this dialect keeps it; a view."""
        axes = self.axes.get(array.ndim)
        return array if axes is None else array.transpose(axes)

    def turned_back(self, array: np.ndarray) -> np.ndarray:
        """This dialect's array as the canonical one; a view."""
        axes = self.axes.get(array.ndim)
        return array if axes is None else array.transpose(np.argsort(axes))

    def canonical_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that the canonical tensor has where this dialect's has `shape`."""
        axes = self.axes.get(len(shape))
        return shape if axes is None else tuple(shape[axes.index(axis)] for axis in range(len(axes)))

    def _prefixes_in(self, names: Collection[str]) -> set[str]:
        """What stands in front of the signs, where all of them are there behind the same."""
        first, *others = self.signs
        found = {name.removesuffix(first) for name in names if _is_behind_prefix(first, name)}
        known = frozenset(names) if others else frozenset()
        return {prefix for prefix in found if all(prefix + sign in known for sign in others)}

    def _prefix_in(self, names: Collection[str]) -> str:
        found = self._prefixes_in(names)
        if len(found) > 1:
            shown = " and ".join(repr(prefix) for prefix in sorted(found)[:2])
            raise ValueError(f"it holds more than one network, behind the prefixes {shown}: say which of them")
        before = found.pop() if found else ""
        return before + self.prefix if self.signs[0].startswith(self.prefix) else before

    def _split(self, name: str) -> tuple[str, str]:
        """Module and tensor: parted by the last dot, or in a symbol by the `_` before the tensor's word."""
        tensor = next((word for word in _TENSORS if self.symbol and name.endswith(f"_{word}")), "")
        module = name.removesuffix(f"_{tensor}") if tensor else name.rpartition(".")[0]
        return module, tensor or name.rpartition(".")[2]


def get(dialects: Iterable[Dialect], aliases: Mapping[str, str], name: str) -> Dialect | None:
    """The first of the `dialects` called `name`, or as the `aliases` say; None where there is none."""
    return next((dialect for dialect in dialects if dialect.name == aliases.get(name, name)), None)


def unwrap(names: Iterable[str]) -> dict[str, str]:
    """Names without what wrappers put around modules, at whatever depth -> the names as they are.

    Where two names would become one, all stay as they are.
    """
    names = list(names)
    plain = {".".join(part for part in name.split(".") if part not in WRAPPERS): name for name in names}
    return plain if len(plain) == len(names) else {name: name for name in names}


def _plain(name: str) -> str:
    """The name without what MXNet's symbol files put in front."""
    return name[4:] if name.startswith(("arg:", "aux:")) else name


def _is_behind_prefix(sign: str, name: str) -> bool:
    return name.endswith(sign) and name[: -len(sign)][-1:] in ("", ".", "_")


def _shift_shortcut(module: str, blocks: Iterable[str], by: int) -> str:
    """`layer1.0.downsample.1` as `layer1.0.downsample.0`, with -1, where layer1.0 is one of the `blocks`."""
    block, _, number = module.partition(".downsample.")
    return f"{block}.downsample.{int(number) + by}" if block in blocks and number.isdigit() else module


def _check_unique(names: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for theirs, ours in names.items():
        if ours in seen:
            raise ValueError(f"{seen[ours]} and {theirs} in it are the same tensor, {ours}")
        seen[ours] = theirs
