"""Canonical names <-> the names of each dialect in which ResNeSt weights exist.

Canonical are the names of the authors' published PyTorch checkpoints. A `Dialect` is a table
of modules that are called something else, read in both directions, and the words it has for
the tensors of a batch norm. Nothing is ever matched by order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

NOT_WEIGHTS = ("num_batches_tracked",)
"""Tensors that checkpoints hold and no network needs: PyTorch's counter of training steps."""


@dataclass(frozen=True)
class Dialect:
    """One way to name the tensors of a ResNeSt.

    `modules` pairs canonical module names with this dialect's; a `*` stands for the same
    run of characters without a dot on both sides. A module in no row keeps its name. `norm` has
    this dialect's words for the tensors of a batch norm. A file is in this dialect when
    a name in it matches `sign`.
    """

    name: str
    sign: str
    modules: tuple[tuple[str, str], ...] = ()
    norm: Mapping[str, str] = field(default_factory=dict)

    def from_canonical(self, names: Iterable[str]) -> dict[str, str]:
        """Canonical name -> this dialect's, for all the tensors of a network."""
        names = list(names)
        norms = {name.removesuffix(".running_var") for name in names if name.endswith(".running_var")}
        translated = {}
        for name in names:
            module, _, tensor = name.rpartition(".")
            word = self.norm.get(tensor, tensor) if module in norms else tensor
            translated[name] = f"{_rename(module, self.modules)}.{word}"
        return translated

    def to_canonical(self, names: Iterable[str]) -> dict[str, str]:
        """This dialect's name -> canonical name."""
        modules = tuple((theirs, ours) for ours, theirs in self.modules)
        words = {theirs: ours for ours, theirs in self.norm.items()}
        translated = {}
        for name in names:
            module, _, tensor = name.rpartition(".")
            if tensor not in NOT_WEIGHTS:
                translated[name] = f"{_rename(module, modules)}.{words.get(tensor, tensor)}"
        return translated


DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "gluon",  # structural names: the authors' and GluonCV's `save_parameters`
            sign=r"\.gamma$",
            modules=(("layer*.*.conv2.bn0", "layer*.*.conv2.bn"),),
            norm={"weight": "gamma", "bias": "beta"},
        ),
        Dialect("torch", sign=r"^layer\d+\.\d+\.conv2\.conv\.weight$"),
    )
}
"""Every dialect, in the order in which their signs are looked for."""


def get_dialect(name: str) -> Dialect:
    """The dialect called `name`; ValueError for one that does not exist."""
    if name not in DIALECTS:
        raise ValueError(f"there is no dialect {name!r}; known are {', '.join(DIALECTS)}")
    return DIALECTS[name]


def detect_dialect(names: Iterable[str]) -> Dialect:
    """The dialect that `names` are written in; ValueError where no ResNeSt is named like that."""
    names = list(names)
    for dialect in DIALECTS.values():
        if any(re.search(dialect.sign, name) for name in names):
            return dialect
    shown = ", ".join(names[:3]) or "none"
    raise ValueError(
        f"its {len(names)} tensors ({shown}{', ...' if len(names) > 3 else ''}) are no ResNeSt's:"
        f" the names fit none of the dialects {', '.join(DIALECTS)}"
    )


def _rename(module: str, rows: Iterable[tuple[str, str]]) -> str:
    for source, target in rows:
        match = re.fullmatch(re.escape(source).replace(r"\*", r"([^.]+)"), module)
        if match:
            return target.replace("*", "{}").format(*match.groups())
    return module
