"""Where trainers put the weights in what they save, and which of them are the averaged ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from resnest.weights.formats.pickles import Inert
from resnest.weights.formats.tensors import listed, printable
from resnest.weights.formats.torch_tensors import StoredTensor

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

IN_CALLBACKS = ("average_model_state", *AVERAGED)
"""Keys of the average in what a callback of Lightning keeps: StochasticWeightAveraging's, others'."""

AROUND = ("module", "_orig_mod")
"""What wrappers put before all names."""

MOST_WRAPPERS = 4
MOST_MODULES = 1 << 14
LONGEST_PREFIX = 1000


class Choice(NamedTuple):
    """A state dict out of a checkpoint.

    `which` is still to be chosen within it, `keys` are those that could have been chosen before, and `note` is to be
    said about it.
    """

    state: Any
    which: str | None
    keys: list[str]
    note: str | None


def choose(content: Any, which: str | None = None) -> Choice:
    """The state dict in the `content` of a checkpoint: the averaged weights where there are some, or `which`.

    `which` is "ema" for the average, "model" for the weights themselves, or a key in the checkpoint. Raises
    ValueError for a checkpoint that holds several dicts and none where trainers put their weights.
    """
    note, keys = None, []
    for _ in range(MOST_WRAPPERS):
        content = state_of(content)
        if not isinstance(content, Mapping):
            break
        keys += [key for key, value in content.items() if holds_tensors(value)]
        if which is not None and which not in (EMA, MODEL) and is_state(content.get(which)):
            content, which = content[which], None
            continue
        averaged, trained = _places(content)
        if averaged is None and which in (EMA, None) and (kept := _in_callbacks(content)):
            owner, state = kept
            if which == EMA:
                content, which = state, None
                break
            # Before it begins to average it holds the weights as they were first.
            note = f'took the weights themselves; the average that {printable(owner)} keeps is had by which="{EMA}"'
        key = trained if which == MODEL else averaged or trained
        if key is None:
            break
        if averaged and trained and which is None:
            note = (
                f"took the average of the weights ({averaged}); the weights themselves ({trained})"
                f' are had by which="{MODEL}"'
            )
        if averaged and which in (EMA, MODEL):
            which = None
        content = content[key]
    return Choice(state_of(content), which, keys, note)


def select(names: Collection[str], which: str, keys: Collection[str] = ()) -> list[str]:
    """Those of the `names` in one state dict that are of `which`: "ema", "model" or what stands before the names.

    Raises ValueError where there are none; `keys` are what else could have been asked for.
    """
    for prefix in PREFIXES.get(which, (which,)):
        found = [name for name in names if name.startswith(f"{prefix}.")]
        found = found or [name for name in names if _within(name).startswith(f"{prefix}.")]
        if found:
            return found
    if which == MODEL:
        return list(names)
    parts = dict.fromkeys(_within(name).partition(".")[0] for name in names)
    there = f"there are {listed(keys)}, and " if keys else ""
    raise ValueError(f"there is no {which!r} in it to choose: {there}its tensors are of {listed(parts)}")


def _within(name: str) -> str:
    """The name without the wrappers around the whole network."""
    while name.startswith(tuple(f"{wrapper}." for wrapper in AROUND)):
        name = name.partition(".")[2]
    return name


def is_state(value: Any) -> bool:
    """Whether this may be a state dict, or holds one."""
    return isinstance(state_of(value), Mapping)


def holds_tensors(value: Any) -> bool:
    """Whether this is a state dict, or has one where trainers put theirs; settings of an average may go by its name."""
    for _ in range(MOST_WRAPPERS):
        value = state_of(value)
        if not isinstance(value, Mapping):
            return False
        if any(isinstance(one, StoredTensor) for one in value.values()):
            return True
        value = next((value[key] for key in (*AVERAGED, *TRAINED) if is_state(value.get(key))), None)
    return False


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
    known = (*AVERAGED, *TRAINED, "current_model_state")
    state = {key for key in known if holds_tensors(content.get(key))}
    state = state or {key for key in known if is_state(content.get(key))}  # so that what is wrong with it can be said
    # Two trainers put the average where others have the weights themselves, for whoever takes that to predict with:
    # Lightning's callback WeightAveraging, and mmengine's EMAHook, which swaps the two before it saves
    # (https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/hooks/ema_hook.py).
    if {"state_dict", "current_model_state"} <= state:
        return "state_dict", "current_model_state"
    if {"state_dict", "ema_state_dict"} <= state and _is_mmengines(content):
        return "state_dict", "ema_state_dict"
    return next((key for key in AVERAGED if key in state), None), next((key for key in TRAINED if key in state), None)


def _in_callbacks(content: Mapping[str, Any]) -> tuple[str, Any] | None:
    """The callback of Lightning that keeps an average of the weights, and that; None without one."""
    for owner, kept in _mapping(content.get("callbacks")).items():
        for key in IN_CALLBACKS:
            if holds_tensors(_mapping(kept).get(key)):
                return owner, kept[key]
    return None


def _is_mmengines(content: Mapping[str, Any]) -> bool:
    """Its Runner writes a message hub and its version, and its average counts its own steps."""
    meta = content.get("meta")
    return (
        "message_hub" in content
        or (isinstance(meta, Mapping) and "mmengine_version" in meta)
        or "steps" in content["ema_state_dict"]
    )
