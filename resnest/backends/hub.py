"""Models in folders and on the Hugging Face hub: `config.json` (the spec), `model.safetensors` and a model card.

The weights lie there under canonical names, so a folder that one backend saved opens in the other. The names of the
classes lie beside them in `classes.txt`, where they are known.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import ModelCard, ModelHubMixin, try_to_load_from_cache

from resnest.backends.cards import model_card
from resnest.specs.networks import TASKS
from resnest.specs.recipes import PRESETS
from resnest.specs.resnest import ResNeStSpec
from resnest.weights.formats.files import open_file, write_file
from resnest.weights.published.hub import hub_file
from resnest.weights.recognition.tasks import task_of
from resnest.weights.saved import (
    CLASSES,
    CONFIG,
    WEIGHTS,
    classes_beside,
    matches,
    weights_in,
    write_classes,
    write_spec,
)

DOWNLOAD = {"revision", "cache_dir", "force_download", "local_files_only", "token", "proxies", "resume_download"}
"""What the mixin hands over about the download; the last two below huggingface_hub 1.0 alone, said or not."""


class HubMixin(ModelHubMixin):
    """`save_pretrained`, `from_pretrained` and `push_to_hub` for the networks of both backends.

    `from_pretrained` takes fields of the spec too: with other `num_classes` or `in_channels` than
    the saved ones a classifier's weights are adapted.
    """

    spec: Any
    SPEC: type[Any] = ResNeStSpec
    """The kind of spec that such a network is built from."""

    classes: list[str] | None = None
    """The names of the classes in the order of the network, where what it was opened from says them."""

    def _arrays(self) -> dict[str, np.ndarray]:
        """The network's weights."""
        raise NotImplementedError

    def _live_spec(self) -> Any:
        """The spec of the network as it is now; ValueError where none says it."""
        raise NotImplementedError

    @classmethod
    def _build(cls, spec: Any, options: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
        """A network with the weights `arrays`, which are its own from here on."""
        raise NotImplementedError

    def save_pretrained(self, save_directory: Any, **how: Any) -> str | None:
        """Write `config.json`, `model.safetensors` and a card into the folder `save_directory`.

        `how` is what `huggingface_hub.ModelHubMixin.save_pretrained` takes besides. Raises ValueError, and leaves
        what is in the folder as it is, for a network that no spec says.
        """
        self._live_spec()
        return super().save_pretrained(save_directory, **how)

    def push_to_hub(self, repo_id: str, **how: Any) -> str:
        """Save the network in the repository `repo_id` of the hub, and give the commit's address.

        `how` is what `huggingface_hub.ModelHubMixin.push_to_hub` takes besides. Raises ValueError before there is a
        repository for a network that no spec says.
        """
        self._live_spec()
        return super().push_to_hub(repo_id, **how)

    def _save_pretrained(self, save_directory: Path) -> None:
        spec, arrays = self._live_spec(), self._arrays()
        write_file(save_directory / WEIGHTS[0], arrays)
        # The mixin noted what the network was built from. Defaults are left out, because the backends'
        # differ, and the spec is today's: since then the network may have got another classifier.
        config: Any = self._hub_mixin_config or {}
        defaults = self._hub_mixin_jsonable_default_values
        options = {word: value for word, value in config.items() if word not in defaults or value != defaults[word]}
        write_spec(save_directory, spec, options)
        if self.classes is not None and len(self.classes) == spec.num_classes:
            write_classes(save_directory, self.classes)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, spec: Any = None, **arguments: Any) -> Any:
        said = {word: arguments.pop(word) for word in DOWNLOAD & arguments.keys()}
        download = {word: value for word, value in said.items() if value is not None}
        fields = [field.name for field in dataclasses.fields(cls.SPEC)]
        changes = {field: arguments.pop(field) for field in fields if field in arguments}
        saved, folder = _read_spec(cls.SPEC, spec, model_id), Path(model_id)
        if not folder.is_dir():  # config and weights of one commit, whatever is pushed in between
            config = Path(hub_file(model_id, CONFIG, **download))
            download["revision"] = config.parent.name
            if not isinstance(spec, cls.SPEC):
                saved = _read_spec(cls.SPEC, json.loads(config.read_text()).get("spec"), model_id)
        spec = dataclasses.replace(saved, **changes)
        if folder.is_dir():
            path = weights_in(folder)
        else:
            path = Path(hub_file(model_id, WEIGHTS[0], **download))
            _fetch_classes(model_id, download)
        with open_file(path) as source:
            arrays = {name: source[name] for name in source}
        model = cls._build(spec, arguments, task_of(spec).adapt(arrays, spec, changes))
        model.classes = classes_beside(path, spec.num_classes)
        return model

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        return ModelCard(model_card(self.spec))


def _fetch_classes(model_id: str, download: Mapping[str, Any]) -> None:
    """Have the names of the classes beside the weights, where somebody named them."""
    cached = {word: download.get(word) for word in ("cache_dir", "revision")}
    if try_to_load_from_cache(model_id, CLASSES, **cached) is None:  # which knows what is missing, too
        with contextlib.suppress(OSError):  # a network without them is one all the same
            hub_file(model_id, CLASSES, **download)


def _read_spec(kind: Any, saved: Any, model_id: str) -> Any:
    if isinstance(saved, kind):
        return saved
    if not matches(kind, saved):
        other = next((task.title for other, task in TASKS.items() if matches(other, saved)), None)
        if other is not None:
            ours = TASKS[kind].title
            trained = f", or have `resnest train` make a {ours} of its weights" if kind in PRESETS else ""
            raise ValueError(
                f"{model_id} was saved from a {other}, and this opens a {ours}: open it as a {other}{trained}"
            )
        raise ValueError(
            f"{model_id} has no {CONFIG} with a spec in it, as save_pretrained of such a network writes it; a weight"
            " file alone is opened by create_model(NAME, weights=FILE)"
        )
    return kind(**saved)
