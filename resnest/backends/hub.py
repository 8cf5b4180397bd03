"""Models in folders and on the Hugging Face hub: `config.json` (the spec), `model.safetensors` and a model card.

The weights lie there under canonical names, so a folder that one backend saved opens in the other.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import ModelCard, ModelHubMixin

from resnest.specs import protocols
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.resnest import MEAN, STD, ResNeStSpec
from resnest.specs.segmentation.network import SegmentationSpec
from resnest.weights.adapt import adapt
from resnest.weights.formats.files import open_file, write_file
from resnest.weights.published.hub import hub_file
from resnest.weights.saved import CONFIG, WEIGHTS, matches, weights_in, write_spec

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

    def _save_pretrained(self, save_directory: Path) -> None:
        spec, arrays = self._live_spec(), self._arrays()
        write_file(save_directory / WEIGHTS[0], arrays)
        # The mixin noted what the network was built from. Defaults are left out, because the backends'
        # differ, and the spec is today's: since then the network may have got another classifier.
        config: Any = self._hub_mixin_config or {}
        defaults = self._hub_mixin_jsonable_default_values
        options = {word: value for word, value in config.items() if word not in defaults or value != defaults[word]}
        write_spec(save_directory, spec, options)

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
        path = weights_in(folder) if folder.is_dir() else hub_file(model_id, WEIGHTS[0], **download)
        with open_file(path) as source:
            arrays = {name: source[name] for name in source}
        arrays = adapt(arrays, spec, changes) if cls.SPEC is ResNeStSpec else arrays
        return cls._build(spec, arguments, arrays)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        return ModelCard(model_card(self.spec))


def _read_spec(kind: Any, saved: Any, model_id: str) -> Any:
    if isinstance(saved, kind):
        return saved
    if not matches(kind, saved):
        other = next((title for other, title in TITLES.items() if matches(other, saved)), None)
        if other is not None:
            use = ", which would find nothing with its weights: `resnest train` makes one of them"
            raise ValueError(
                f"{model_id} was saved from a {other}, and this opens a {TITLES[kind]}"
                f"{use if kind is DetectionSpec else f': open it as a {other}'}"
            )
        raise ValueError(
            f"{model_id} has no {CONFIG} with a spec in it, as save_pretrained of such a network writes it; a weight"
            " file alone is opened by create_model(NAME, weights=FILE)"
        )
    return kind(**saved)


TITLES = {ResNeStSpec: "classifier", SegmentationSpec: "segmenter", DetectionSpec: "detector"}
"""Kind of spec -> what its networks are called."""


def model_card(spec: Any) -> str:
    """The text of `README.md` beside a saved network: what it is, what it costs, how to feed and open it."""
    if isinstance(spec, DetectionSpec):
        return _detectors_card(spec)
    if isinstance(spec, SegmentationSpec):
        return _segmenters_card(spec)
    cost = spec.cost(spec.image_size)
    task = "image-classification" if spec.num_classes else "image-feature-extraction"
    rows = {
        "blocks in stages 1 to 4": ", ".join(map(str, spec.stage_depths)),
        "radix, cardinality, bottleneck width": f"{spec.radix}, {spec.cardinality}, {spec.bottleneck_width}",
        "output stride": spec.output_stride,
        "input channels": spec.in_channels,
        "classes": spec.num_classes or "none: a backbone",
        "parameters": f"{cost.parameters:,}",
        f"multiply-accumulates at {spec.image_size}x{spec.image_size}": f"{cost.macs:,}",
    }
    prepared = protocols.preparation(protocols.DEFAULT, spec.image_size, spec.name)
    food = f"""## Input

A photo as {spec.image_size}x{spec.image_size} pixels: {prepared};
{_normalised()}.

"""
    return _card(spec, task, task, f"A {PAPER}", rows, "ResNeSt", food=food)


def _detectors_card(spec: DetectionSpec) -> str:
    long, short = spec.scale
    task = "image-segmentation" if spec.has_masks else "object-detection"
    rows = {
        "backbone": spec.backbone.name,
        "classes": spec.num_classes,
        "parameters": f"{spec.cost(short, long).parameters:,}",
    }
    use = "found = model.predict(photos)  # of RGB, which it resizes to fit into"
    use += f" {long}x{short} pixels and normalises\n"
    return _card(spec, task, "object-detection", f"A detector ({spec.family}) on {PAPER}", rows, "Detector", use)


def _segmenters_card(spec: SegmentationSpec) -> str:
    task = "image-segmentation"
    rows = {
        "backbone, output stride": f"{spec.backbone.name}, {spec.output_stride}",
        "head": spec.head,
        "classes": spec.num_classes,
        "parameters": f"{spec.cost(spec.image_size).parameters:,}",
    }
    use = f"logits = model.predict(x)  # of {_normalised()}\n"
    return _card(spec, task, task, f"A segmentation network on {PAPER}", rows, "Segmenter", use)


PAPER = "ResNeSt ([ResNeSt: Split-Attention Networks](https://arxiv.org/abs/2004.08955))"


def _normalised() -> str:
    mean, std = (", ".join(map(str, numbers)) for numbers in (MEAN, STD))
    return f"RGB in [0, 1], from which {mean} is taken and which is divided by {std}"


def _card(
    spec: Any, task: str, tag: str, what: str, rows: Mapping[str, object], opener: str, use: str = "", food: str = ""
) -> str:
    """A card of a network that the class `opener` opens; `use` is code behind that, and `food` what it is fed with."""
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""---
library_name: resnest
pipeline_tag: {task}
tags:
- resnest
- split-attention
- {tag}
---

# {spec.name}

{what} that was saved by `resnest`.

| | |
|---|---|
{table}

{food}## Use

```python
from resnest.torch import {opener}  # or resnest.gluon: the same file opens in both

model = {opener}.from_pretrained("this repository or folder")
{use}```
"""
