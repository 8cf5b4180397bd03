"""The words that `create_model` and the builders accept, sorted into what they mean.

A builder takes the words of the authors' builders in its framework, the fields of the spec, and timm's words
for them. A word of another framework is refused with the right one, never guessed at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from resnest.specs.arguments import unexpected
from resnest.specs.blocks import GLOBAL_POOLS
from resnest.specs.resnest import ResNeStSpec

TIMM = {
    "in_chans": "in_channels",
    "drop_rate": "final_drop",
    "drop_path_rate": "drop_path_prob",
    "drop_block_rate": "dropblock_prob",
    "act_layer": "activation",
    "zero_init_last": "last_gamma",
    "bn_eps": "norm_eps",
    "bn_momentum": "norm_momentum",
}
"""timm's words for ours; both work."""

FAST = "fast"
"""What timm puts before the name of a pooling that it computes another way, with the same result; alone the mean."""

ACTIVATION_NAMES = {"swish": "silu"}
"""What activations are called elsewhere, where that is not the spec's word."""

_SIGNATURE = ("pretrained", "root", "weights", "features_only", "out_indices")
"""Words that `create_model` itself takes, in both backends."""

NORM_OPTIONS = ("norm_layer", "norm_kwargs", "use_global_stats", "last_gamma")
"""Options that a network in deploy form has no use for."""

_DILATION = {1: 32, 2: 16, 4: 8}
"""The authors' `dilation` -> output stride."""


def sort_arguments(
    function: str, arguments: Mapping[str, Any], options: Collection[str], elsewhere: Mapping[str, str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sort a builder's keyword arguments into changes of the spec and `options` of the network.

    `elsewhere` says, for words that are right in another framework, what it is called here.
    Raises TypeError for a word that is not known, or for saying one thing twice.
    """
    arguments = _in_our_words(function, arguments)
    fields = [field.name for field in dataclasses.fields(ResNeStSpec) if field.name != "name"]
    known = [*fields, *options, *_SIGNATURE, "dilated", "dilation"]
    for word in arguments:
        if word in elsewhere or word not in known:
            raise TypeError(unexpected(function, word, known, elsewhere))
    changes = {word: value for word, value in arguments.items() if word in fields}
    chosen = {word: value for word, value in arguments.items() if word in options}
    if changes.get("deploy"):
        for word in chosen:
            if word in NORM_OPTIONS:
                raise TypeError(f"{function} has no norms with deploy=True, so {word} has nothing to work on")
    stride = _output_stride(arguments.get("dilated", False), arguments.get("dilation", 1))
    if stride is not None and changes.setdefault("output_stride", stride) != stride:
        raise TypeError(
            f"{function} is told output_stride={changes['output_stride']!r} and, by dilated or dilation, {stride}"
        )
    return changes, chosen


def _in_our_words(function: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`arguments` with timm's words turned into ours; TypeError where both are there."""
    for theirs, ours in TIMM.items():
        if theirs in arguments and ours in arguments:
            raise TypeError(f"{function} is told {ours} twice: {theirs} is timm's word for it")
    words = {TIMM.get(word, word): value for word, value in arguments.items()}
    if "activation" in words:
        words["activation"] = activation_name(words["activation"])
    if "global_pool" in words:
        words["global_pool"] = pool_name(words["global_pool"])
    return words


def activation_name(activation: Any) -> Any:
    """The spec's word for an activation: of a layer class, such as `nn.SiLU`, that of its name."""
    name = activation.__name__ if isinstance(activation, type) else activation
    lower = name.lower() if isinstance(name, str) else name
    return ACTIVATION_NAMES.get(lower, lower)


def pool_name(pool: Any) -> Any:
    """The spec's word for a global pooling, which timm has a second name for."""
    return pool.removeprefix(FAST) or GLOBAL_POOLS[0] if isinstance(pool, str) and pool.startswith(FAST) else pool


def _output_stride(dilated: bool, dilation: int) -> int | None:
    """What the authors' two words for it ask for; None where they leave it as it is."""
    if dilation not in _DILATION:
        raise ValueError(f"dilation={dilation!r} must be 1, 2 (output stride 16) or 4 (output stride 8)")
    if dilated:
        return 8
    return None if dilation == 1 else _DILATION[dilation]


def feature_options(features_only: bool, out_indices: int | Sequence[int] | None) -> dict[str, Any]:
    """The options of a feature extractor; TypeError for `out_indices` of a network that has none."""
    if out_indices is None:
        return {}
    if not features_only:
        raise TypeError("out_indices goes with features_only=True")
    return {"out_indices": out_indices}
