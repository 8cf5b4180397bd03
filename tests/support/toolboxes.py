"""What the segmentation toolboxes themselves hold: names and shapes of their networks' tensors, in their order."""

from __future__ import annotations

import json

from tests.support.paths import FIXTURES


def toolbox_tensors(toolbox: str, network: str) -> dict[str, tuple[int, ...]]:
    shapes = json.loads((FIXTURES / f"{toolbox}_{network}_tensors.json").read_text())
    return {name: tuple(shape) for name, shape in shapes.items()}
