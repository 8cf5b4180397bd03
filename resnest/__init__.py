"""ResNeSt (Split-Attention Networks) in PyTorch and MXNet Gluon, from one spec.

Importing this package imports no framework: `resnest.torch` and `resnest.gluon` do.
"""

from resnest.specs import (
    ResNeStSpec,
    SegmentationSpec,
    get_segmentation_spec,
    get_spec,
    list_models,
    list_segmentation_models,
)

__version__ = "0.1.0"

__all__ = [
    "ResNeStSpec",
    "SegmentationSpec",
    "__version__",
    "get_segmentation_spec",
    "get_spec",
    "list_models",
    "list_segmentation_models",
]
