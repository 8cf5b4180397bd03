"""What a training is told: a file of YAML and words like `epochs=20 radix=4`, read into typed values.

The keys are the fields of the recipe (`resnest.specs.recipes`), those of the network's spec, and those of `Run`.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnest.backends.training import Setup
from resnest.jobs.processes import own_device, processes
from resnest.specs.arguments import closest, with_changes
from resnest.specs.networks import find
from resnest.specs.recipes import RECIPES, find_recipe, presets_of
from resnest.specs.update import UpdateRule, frozen_norms, frozen_tensors, layer_rates

MOST_WORKERS = 1024
"""Processes that read photos, at most: a machine that is asked for more stops."""


@dataclass(frozen=True)
class Run:
    """What neither the network nor the recipe says.

    `recipe` is the preset that the others are changes of. `workers` are the processes that read photos. `device` is
    "cpu", "cuda" or "cuda:1"; in several processes each takes the GPU of its number. `accumulate` cuts a batch into
    that many parts, one after the other. `clip` is the largest norm of all gradients, 0 for none; `layer_decay`
    multiplies the learning rate from block to block downwards. `freeze_stages` holds the stem (1), the stem and
    stage 1 (2), ... as they are, `freeze_norm` every batch norm; what a detector's own `frozen_stages` say is held
    anyway. `sync_bn` None is the recipe's, where there are several processes on GPUs. `save_every` steps there is a
    checkpoint, and at the end of every epoch; `evaluate_every` epochs, and after the last, there is an evaluation.
    """

    recipe: str = "gluon"
    seed: int = 0
    workers: int = 4
    device: str = "cpu"
    dtype: str = "float32"
    channels_last: bool | None = None
    compile: bool = False
    accumulate: int = 1
    clip: float = 0.0
    layer_decay: float = 1.0
    freeze_stages: int = 0
    freeze_norm: bool = False
    sync_bn: bool | None = None
    save_every: int = 0
    evaluate_every: int = 1
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for name, least in (("workers", 0), ("save_every", 0), ("evaluate_every", 1), ("seed", 0), ("accumulate", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)!r} must be at least {least}")
        if self.workers > MOST_WORKERS:
            raise ValueError(f"workers={self.workers!r} must be at most {MOST_WORKERS}")


@dataclass(frozen=True)
class Config:
    """A training: the network, its recipe, and the rest."""

    spec: Any
    recipe: Any
    run: Run

    @property
    def frozen_stages(self) -> int:
        """As in `Run.freeze_stages`, those that the network itself holds too: it does not count the stem."""
        own = getattr(self.spec, "frozen_stages", 0)
        return max(self.run.freeze_stages, own + 1 if own else 0)

    def rule(self) -> UpdateRule:
        run = self.run
        return self.recipe.rule(
            self.spec,
            rates=layer_rates(self.spec, run.layer_decay) if run.layer_decay != 1 else {},
            frozen=frozen_tensors(self.spec, self.frozen_stages, run.freeze_norm),
            clip=run.clip or None,
        )

    def setup(self, options: Mapping[str, Any]) -> Setup:
        """How a backend is to train; its network is built with `options`."""
        run = self.run
        shared = self.recipe.sync_norms and processes() > 1 and run.device.startswith("cuda")
        return Setup(
            device=own_device(run.device),
            dtype=run.dtype,
            channels_last=run.channels_last,
            compiled=run.compile,
            accumulate=run.accumulate,
            average=self.recipe.ema_decay or None,
            frozen_norms=frozen_norms(self.spec, self.frozen_stages, run.freeze_norm),
            sync_norms=shared if run.sync_bn is None else run.sync_bn,
            dropout=options,
        )

    def facts(self) -> dict[str, Any]:
        """Everything, ready for JSON; `from_facts` reads it."""
        return typing.cast(dict[str, Any], json.loads(json.dumps(dataclasses.asdict(self))))


def from_facts(facts: Mapping[str, Any]) -> Config:
    """The configuration that a checkpoint was written under."""
    published = find(facts["spec"]["name"])
    return Config(
        type(published)(**facts["spec"]),
        _of_facts(RECIPES[type(published)], facts["recipe"]),
        Run(**facts["run"]),
    )


def _of_facts(kind: Any, facts: Mapping[str, Any]) -> Any:
    """A dataclass of this `kind`, and those in its fields, out of what JSON holds of it."""
    hints = typing.get_type_hints(kind)
    nested = {name for name in facts if dataclasses.is_dataclass(hints[name])}
    return kind(**{name: _of_facts(hints[name], facts[name]) if name in nested else facts[name] for name in facts})


def read_config(name: str, path: Path | None = None, words: Sequence[str] = (), classes: int | None = None) -> Config:
    """The training of the network `name` that the YAML file at `path`, and then the `words` like `lr=0.1`, ask for.

    `classes` is how many there are in the data. What nothing is said about is the preset's. Raises ValueError for a
    key that there is not, with the closest ones, or a value of another type; ImportError without OmegaConf.
    """
    published = find(name)
    presets = presets_of(published)
    recipe, spec = RECIPES[type(published)], type(published)
    values = _values((Run, recipe, spec), path, words)
    run = Run(**{"recipe": next(iter(presets))} | {key: values.pop(key) for key in _names(Run) if key in values})
    changes = {key: values.pop(key) for key in _names(spec) if key in values}
    if classes is not None and changes.setdefault("num_classes", classes) != classes:
        raise ValueError(
            f"num_classes={changes['num_classes']!r} and the {classes} classes in the data are not the same"
        )
    changes = {key: _merged(getattr(published, key), value) for key, value in changes.items()}
    if hasattr(published, "dataset") and changes.get("num_classes", published.num_classes) != published.num_classes:
        changes["dataset"] = ""  # of other classes it is another one
    if "size" in values:
        values.setdefault("eval_size", values["size"])
    return Config(with_changes(published, name, changes), find_recipe(name, run.recipe, **values), run)


FIXED = ("recipe", "seed", "dtype", "batch", "drop_last", "momentum", "ema_decay", "freeze_stages", "freeze_norm")
"""What a resumed training cannot have otherwise: its steps or its state would not go on from those before."""


def changed(config: Config, path: Path | None = None, words: Sequence[str] = ()) -> Config:
    """The same training with some of its keys changed, as a resumed one may be; said again is not changed."""
    kinds = Run, type(config.recipe), type(config.spec)
    values = _values(kinds, path, words)
    for part in (config.run, config.recipe, config.spec):
        for key in _names(type(part)):
            fixed = part is config.spec or key in FIXED
            if key not in values:
                continue
            values[key] = _merged(getattr(part, key), values[key])
            if fixed and values[key] != getattr(part, key):
                raise ValueError(
                    f"{key}={values[key]!r} makes another training of this, which has {key}={getattr(part, key)!r}:"
                    " leave it out, or start anew in another output"
                )
    run = dataclasses.replace(config.run, **{key: values.pop(key) for key in _names(Run) if key in values})
    recipe = {key: values[key] for key in _names(kinds[1]) if key in values}
    return Config(config.spec, config.recipe.with_changes(**recipe), run)


def _merged(part: Any, value: Any) -> Any:
    """The `value` of a field; where that is a dataclass, `part` with what was given of it."""
    return dataclasses.replace(part, **value) if isinstance(value, Mapping) else value


LEFT_OUT = ("name", "image_size", "deploy", "family", "anchors", "proposals", "dataset")
"""Fields of specs that are no keys: a name says them."""


def _names(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.name not in LEFT_OUT]


def _values(kinds: Sequence[Any], path: Path | None, words: Sequence[str]) -> dict[str, Any]:
    """The fields of the `kinds` that were given, of the file and then of the words, with values of the right types."""
    try:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError
    except ModuleNotFoundError as error:
        raise ImportError(
            f"training needs OmegaConf, and {error.name} is not installed: pip install 'resnest[train]'"
        ) from error
    schema, known = OmegaConf.structured(_schema(kinds)), _keys(kinds)
    for word in words:
        if "=" not in word:
            raise ValueError(f"{word!r} is no key=value; {closest(word, known)}")
    try:
        file = OmegaConf.create() if path is None else OmegaConf.load(path)
        if not OmegaConf.is_dict(file):
            raise ValueError(f"{path} holds no keys with values")
        given = OmegaConf.merge(file, OmegaConf.from_dotlist(list(words)))
        for key in _flat(OmegaConf.to_container(given)):
            if key not in known:
                raise ValueError(f"there is no key {key!r}; {closest(key, known)}")
        read = OmegaConf.to_container(OmegaConf.merge(schema, given), resolve=True)
    except (OmegaConfBaseException, YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "full_key", None) or path or "the configuration"
        raise ValueError(f"{where}: {str(error).splitlines()[0]}") from error
    return typing.cast(dict[str, Any], _given(read, OmegaConf.to_container(given)))


def _given(read: Any, given: Any) -> Any:
    """Of what was `read` against the schema, that which was `given`."""
    if isinstance(given, dict):
        return {key: _given(read[key], value) for key, value in given.items()}
    return tuple(read) if isinstance(read, list) else read


def _flat(values: Any, prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in (values if isinstance(values, dict) else {}).items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]
    return found


def _keys(kinds: Sequence[Any]) -> list[str]:
    keys = []
    for kind in kinds:
        hints = typing.get_type_hints(kind)
        for name in _names(kind):
            nested = _names(hints[name]) if dataclasses.is_dataclass(hints[name]) else None
            keys += [name] if nested is None else [f"{name}.{inner}" for inner in nested]
    return keys


def _schema(kinds: Sequence[Any]) -> Any:
    """A dataclass of every key, each of its own type and without a value."""

    def fields(kind: Any) -> list[Any]:
        hints = typing.get_type_hints(kind)
        return [(name, _type(hints[name]), dataclasses.field(default=None)) for name in _names(kind)]

    def _type(hint: Any) -> Any:
        if dataclasses.is_dataclass(hint):
            return typing.Optional[dataclasses.make_dataclass("Nested", fields(hint))]  # noqa: UP045  # made here
        return typing.Optional[hint] if hint in (int, float, bool, str) else Any  # noqa: UP045  # made here

    return dataclasses.make_dataclass("TrainConfig", [field for kind in kinds for field in fields(kind)])
