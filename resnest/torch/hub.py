"""How a PyTorch network goes to and comes from a folder or the hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from resnest.hub import HubMixin
from resnest.spec import ResNeStSpec


class SavedModel(HubMixin):
    """`save_pretrained`, `from_pretrained` (in eval mode, as all of the hub's models) and `push_to_hub`."""

    def _arrays(self) -> dict[str, np.ndarray]:
        from resnest.torch.weights import get_weights  # it reads model.py, which reads this

        return get_weights(self)

    @classmethod
    def _build(cls, spec: ResNeStSpec, options: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
        from resnest.torch.weights import load_weights

        with torch.device("meta"):
            model: Any = cls(spec, **options)
        load_weights(model, arrays, copy=False)
        return model.eval()
