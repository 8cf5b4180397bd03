"""Where trainers put the weights in what they save, and which of them are the averaged ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from resnest.weights.formats.pickles import Inert

EMA, MODEL = "ema", "model"
"""What `which` calls the running average of the weights, and the weights themselves."""

AVERAGED = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
"""Keys of the average: timm's, torchvision's, others'."""

TRAINED = ("state_dict", "model", "model_state_dict", "module", "net")
"""Keys of the weights themselves: everybody's, torchvision's, PyTorch's tutorials', DeepSpeed's, others'."""

PREFIXES = {
    EMA: ("ema", "ema_model", "model_ema", "model.ema", "averaged_model", "swa_model"),
    MODEL: ("model", "module", "net"),
}
"""What stands before the names where both are in one state dict."""

MOST_WRAPPERS = 4
MOST_MODULES = 1 << 14
LONGEST_PREFIX = 1000


class Choice(NamedTuple):
    """A state dict out of a checkpoint; what is still to be chosen within it; and what is to be said about it."""

    state: Any
    which: str | None
    note: str | None


def choose(content: Any, which: str | None = None) -> Choice:
    """The state dict in the `content` of a checkpoint: the averaged weights where there are some, or `which`.

    `which` is "ema" for the average, "model" for the weights themselves, or a key in the checkpoint. Raises
    ValueError for a checkpoint that holds several dicts and none where trainers put their weights.
    """
    note = None
    for _ in range(MOST_WRAPPERS):
        content = state_of(content)
        if not isinstance(content, Mapping):
            break
        if which is not None and which not in (EMA, MODEL) and is_state(content.get(which)):
            content, which = content[which], None
            continue
        averaged, trained = _places(content)
        key = trained if which == MODEL else averaged or trained
        if key is None:
            break
        if averaged and trained:
            if which is None:
                note = (
                    f"took the average of the weights ({averaged}); the weights themselves ({trained})"
                    f' are had by which="{MODEL}"'
                )
            which = None if which in (EMA, MODEL) else which
        content = content[key]
    return Choice(state_of(content), which, note)


def select(names: Collection[str], which: str) -> list[str]:
    """Those of the `names` in one state dict that are of `which`: "ema", "model" or what stands before the names.

    Raises ValueError where there are none.
    """
    for prefix in PREFIXES.get(which, (which,)):
        found = [name for name in names if name.startswith(f"{prefix}.")]
        if found:
            return found
    if which == MODEL:
        return list(names)
    parts = dict.fromkeys(name.partition(".")[0] for name in names)
    raise ValueError(f"there is no {which!r} in it to choose: its tensors are of {', '.join(list(parts)[:8])}")


def is_state(value: Any) -> bool:
    """Whether this may be a state dict, or holds one."""
    return isinstance(state_of(value), Mapping)


def state_of(value: Any) -> Any:
    """The state dict of a module that was saved whole; any other value as it is."""
    if not (isinstance(value, Inert) and isinstance(value.state, Mapping) and "_modules" in value.state):
        return value
    found: dict[str, Any] = {}
    to_see: list[tuple[str, Any]] = [("", value)]
    for _ in range(MOST_MODULES):
        if not to_see:
            return found
        prefix, module = to_see.pop()
        state = _mapping(module.state) if isinstance(module, Inert) else {}
        tensors = [*_mapping(state.get("_parameters")).items(), *_mapping(state.get("_buffers")).items()]
        found |= {prefix + name: tensor for name, tensor in tensors if tensor is not None}
        to_see += [(f"{prefix}{name}.", inner) for name, inner in _mapping(state.get("_modules")).items()]
        if len(prefix) > LONGEST_PREFIX:
            break
    raise ValueError("it holds a module of more, or deeper nested, modules than any network has")


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _places(content: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The keys of the average and of the weights themselves, as far as there are such."""
    state = {key for key in (*AVERAGED, *TRAINED, "current_model_state") if is_state(content.get(key))}
    # Two trainers put the average where others have the weights themselves, for whoever takes that to predict with:
    # Lightning's callback WeightAveraging, and mmengine's EMAHook, which swaps the two before it saves
    # (https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/hooks/ema_hook.py).
    if {"state_dict", "current_model_state"} <= state:
        return "state_dict", "current_model_state"
    if {"state_dict", "ema_state_dict"} <= state and _is_mmengines(content):
        return "state_dict", "ema_state_dict"
    return next((key for key in AVERAGED if key in state), None), next((key for key in TRAINED if key in state), None)


def _is_mmengines(content: Mapping[str, Any]) -> bool:
    """Its Runner writes a message hub and its version, and its average counts its own steps."""
    meta = content.get("meta")
    return (
        "message_hub" in content
        or (isinstance(meta, Mapping) and "mmengine_version" in meta)
        or "steps" in content["ema_state_dict"]
    )
