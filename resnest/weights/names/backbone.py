"""Canonical names <-> the names of each dialect in which ResNeSt weights exist.

Canonical are the names of the authors' published PyTorch checkpoints. A `Dialect` is a table
of modules that are called something else, read in both directions, and the words it has for
the tensors of a batch norm. Nothing is ever matched by order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from resnest.specs.resnest import ResNeStSpec
from resnest.weights.names.patterns import Rows, rename

NOT_WEIGHTS = ("num_batches_tracked",)
"""Tensors that checkpoints hold and no network needs: PyTorch's counter of training steps."""

STATISTICS = ("running_mean", "running_var")

_SYMBOL_WORDS = {"moving_mean": "running_mean", "moving_var": "running_var"}
"""What MXNet's symbols call the statistics that Gluon's exports call as PyTorch does; either is read."""

_TENSORS = ("weight", "bias", "gamma", "beta", *STATISTICS, *_SYMBOL_WORDS)


_FIRST = ".downsample.0"
"""The first module of a shortcut: a pooling, which has no tensors, or the convolution where there is none."""


@dataclass(frozen=True)
class Dialect:
    """One way to name the tensors of a ResNeSt.

    `modules` pairs canonical module names with this dialect's (`resnest.weights.names.patterns`
    says how a row reads); a module in no row keeps its name. `prefix` stands before all of them
    but `outside`, the modules that are no part of the backbone. `norm` has this
    dialect's words for the tensors of a batch norm. A file is in this dialect when it
    has a tensor called `sign`, behind whatever other prefix. `symbol` marks the names of MXNet
    symbols: an `arg:` or `aux:` in front, and no dots. In a dialect with `bare_shortcuts` a
    shortcut of stride 1 has no pooling to count, so its modules are one number lower. Without
    `any_form` there are no names for a network without a deep stem or without pooled shortcuts.
    """

    name: str
    sign: str
    modules: Rows = ()
    prefix: str = ""
    outside: Mapping[str, str] = field(default_factory=dict)
    norm: Mapping[str, str] = field(default_factory=dict)
    symbol: bool = False
    bare_shortcuts: bool = False
    any_form: bool = False

    def from_canonical(self, spec: ResNeStSpec) -> dict[str, str]:
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
        prefix = self._prefix_in(tensors.values())
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
            translated[name] = f"{module}.{words.get(tensor, tensor)}"
        _check_unique(translated)
        return translated

    def speaks(self, names: Iterable[str]) -> bool:
        """Whether a tensor is called `sign`."""
        return any(_is_behind_prefix(self.sign, _plain(name)) for name in names)

    def _prefix_in(self, names: Iterable[str]) -> str:
        found = {name.removesuffix(self.sign) for name in names if _is_behind_prefix(self.sign, name)}
        if len(found) > 1:
            shown = " and ".join(repr(prefix) for prefix in sorted(found)[:2])
            raise ValueError(f"it holds more than one network, behind the prefixes {shown}: keep only one")
        before = found.pop() if found else ""
        return before + self.prefix if self.sign.startswith(self.prefix) else before

    def _split(self, name: str) -> tuple[str, str]:
        """Module and tensor: parted by the last dot, or in a symbol by the `_` before the tensor's word."""
        tensor = next((word for word in _TENSORS if self.symbol and name.endswith(f"_{word}")), "")
        module = name.removesuffix(f"_{tensor}") if tensor else name.rpartition(".")[0]
        return module, tensor or name.rpartition(".")[2]


_GLUON_NORM = {"weight": "gamma", "bias": "beta"}

_SYMBOL_STEM = (
    ("conv1.0", "conv0"),
    ("conv1.1", "batchnorm0"),
    ("conv1.3", "conv1"),
    ("conv1.4", "batchnorm1"),
    ("conv1.6", "conv2"),
    ("bn1", "batchnorm2"),
)

_OPENMMLAB = (("bn1", "stem.7"), ("conv1.{n}", "stem.{n}"))

DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(
            "gluon",  # structural names: the authors' and GluonCV's `save_parameters`
            sign="layer1.0.conv2.bn.gamma",
            modules=(("layer{stage}.{block}.conv2.bn0", "layer{stage}.{block}.conv2.bn"),),
            norm=_GLUON_NORM,
            any_form=True,
        ),
        Dialect(
            "symbol",  # what `export` writes for a network of `resnest.gluon`
            sign="layer1_0_splitattention0_conv0_weight",
            prefix="resnest0_",
            modules=(
                *_SYMBOL_STEM,
                ("layer{stage}.{block}.conv1", "layer{stage}_{block}_conv0"),
                ("layer{stage}.{block}.bn1", "layer{stage}_{block}_batchnorm0"),
                ("layer{stage}.{block}.conv2.conv", "layer{stage}_{block}_splitattention0_conv0"),
                ("layer{stage}.{block}.conv2.bn0", "layer{stage}_{block}_splitattention0_batchnorm0"),
                ("layer{stage}.{block}.conv2.fc1", "layer{stage}_{block}_splitattention0_conv1"),
                ("layer{stage}.{block}.conv2.bn1", "layer{stage}_{block}_splitattention0_batchnorm1"),
                ("layer{stage}.{block}.conv2.fc2", "layer{stage}_{block}_splitattention0_conv2"),
                ("layer{stage}.{block}.conv3", "layer{stage}_{block}_conv1"),
                ("layer{stage}.{block}.bn3", "layer{stage}_{block}_batchnorm1"),
                ("layer{stage}.{block}.downsample.1", "layer{stage}_{block}_conv2"),
                ("layer{stage}.{block}.downsample.2", "layer{stage}_{block}_batchnorm2"),
                ("fc", "dense0"),
            ),
            norm=_GLUON_NORM,
            symbol=True,
        ),
        Dialect(
            "gluoncv_symbol",  # what it writes for one of the authors' and GluonCV's, which count through a stage
            sign="layers1_conv0_weight",
            prefix="resnest_",
            modules=(
                *_SYMBOL_STEM,
                ("layer{stage}.{block}.conv1", "layers{stage}_conv{5*block}"),
                ("layer{stage}.{block}.bn1", "layers{stage}_batchnorm{4*block}"),
                ("layer{stage}.{block}.conv2.conv", "layers{stage}_conv{5*block+1}"),
                ("layer{stage}.{block}.conv2.bn0", "layers{stage}_batchnorm{4*block+1}"),
                ("layer{stage}.{block}.conv2.fc1", "layers{stage}_conv{5*block+2}"),
                ("layer{stage}.{block}.conv2.bn1", "layers{stage}_batchnorm{4*block+2}"),
                ("layer{stage}.{block}.conv2.fc2", "layers{stage}_conv{5*block+3}"),
                ("layer{stage}.{block}.conv3", "layers{stage}_conv{5*block+4}"),
                ("layer{stage}.{block}.bn3", "layers{stage}_batchnorm{4*block+3}"),
                ("layer{stage}.0.downsample.1", "down{stage}_conv0"),
                ("layer{stage}.0.downsample.2", "down{stage}_batchnorm0"),
                ("fc", "dense0"),
            ),
            norm=_GLUON_NORM,
            symbol=True,
        ),
        Dialect(
            "detectron2",  # the authors' fork of it
            sign="stem.conv1_1.weight",
            modules=(
                ("conv1.0", "stem.conv1_1"),
                ("conv1.1", "stem.conv1_1.norm"),
                ("conv1.3", "stem.conv1_2"),
                ("conv1.4", "stem.conv1_2.norm"),
                ("conv1.6", "stem.conv1_3"),
                ("bn1", "stem.conv1_3.norm"),
                ("layer{stage}.{block}.conv1", "res{stage+1}.{block}.conv1"),
                ("layer{stage}.{block}.bn1", "res{stage+1}.{block}.conv1.norm"),
                ("layer{stage}.{block}.conv2.{part}", "res{stage+1}.{block}.conv2.{part}"),
                ("layer{stage}.{block}.conv3", "res{stage+1}.{block}.conv3"),
                ("layer{stage}.{block}.bn3", "res{stage+1}.{block}.conv3.norm"),
                ("layer{stage}.{block}.downsample.1", "res{stage+1}.{block}.shortcut"),
                ("layer{stage}.{block}.downsample.2", "res{stage+1}.{block}.shortcut.norm"),
                ("fc", "linear"),
            ),
        ),
        Dialect(
            "mmpretrain",
            sign="stem.0.conv.weight",
            prefix="backbone.",
            modules=(
                ("conv1.0", "stem.0.conv"),
                ("conv1.1", "stem.0.bn"),
                ("conv1.3", "stem.1.conv"),
                ("conv1.4", "stem.1.bn"),
                ("conv1.6", "stem.2.conv"),
                ("bn1", "stem.2.bn"),
            ),
            outside={"fc": "head.fc"},
            bare_shortcuts=True,
        ),
        Dialect("sssegmentation", sign="backbone_net.stem.0.weight", prefix="backbone_net.", modules=_OPENMMLAB),
        Dialect(
            "openmmlab",  # mmdetection and mmsegmentation
            sign="stem.0.weight",
            prefix="backbone.",
            modules=_OPENMMLAB,
            outside={"fc": "head.fc"},
        ),
        Dialect(
            "smp_timm",  # segmentation-models-pytorch where its encoder is timm's, as it always is since 0.5
            sign="encoder.model.layer1.0.conv2.conv.weight",
            prefix="encoder.model.",
            any_form=True,
        ),
        Dialect(
            "smp",  # and before
            sign="encoder.layer1.0.conv2.conv.weight",
            prefix="encoder.",
            any_form=True,
        ),
        Dialect("torch", sign="layer1.0.conv2.conv.weight", any_form=True),
    )
}
"""Every dialect, in the order in which their signs are looked for."""

MXNET_DIALECTS = tuple(name for name, dialect in DIALECTS.items() if dialect.norm)
"""The dialects of MXNet's files: those with words of their own for a batch norm."""

ALIASES = {"timm": "torch", "mmdetection": "openmmlab", "mmsegmentation": "openmmlab"}
"""Libraries whose names are those of another dialect, to the letter."""


def get_dialect(name: str) -> Dialect:
    """The dialect called `name`; ValueError for one that does not exist."""
    dialect = DIALECTS.get(ALIASES.get(name, name))
    if dialect is None:
        raise ValueError(f"there is no dialect {name!r}; known are {', '.join([*DIALECTS, *ALIASES])}")
    return dialect


def detect_dialect(names: Iterable[str]) -> Dialect:
    """The dialect that `names` are written in; ValueError where no ResNeSt is named like that."""
    names = list(names)
    for dialect in DIALECTS.values():
        if dialect.speaks(names):
            return dialect
    shown = ", ".join(names[:3]) or "none"
    raise ValueError(
        f"its {len(names)} tensors ({shown}{', ...' if len(names) > 3 else ''}) are no ResNeSt's:"
        f" the names fit none of the dialects {', '.join(DIALECTS)}"
    )


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
