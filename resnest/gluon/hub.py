"""How an MXNet Gluon network goes to and comes from a folder or the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from resnest.hub import HubMixin
from resnest.spec import ResNeStSpec


class SavedModel(HubMixin):
    """`save_pretrained`, `from_pretrained` (on the contexts `ctx`) and `push_to_hub`."""

    def _arrays(self) -> dict[str, np.ndarray]:
        from resnest.gluon.weights import get_weights  # it reads model.py, which reads this

        return get_weights(self)

    @classmethod
    def _build(cls, spec: ResNeStSpec, options: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
        from resnest.gluon.weights import load_weights

        ctx = options.get("ctx")
        model: Any = cls(spec, **{word: value for word, value in options.items() if word != "ctx"})
        load_weights(model, arrays, ctx=ctx, copy=False)
        return model
