"""ResNeSt (Split-Attention Networks) in PyTorch and MXNet Gluon, from one spec.

Importing this package imports no framework: `resnest.torch` and `resnest.gluon` do.
"""

from resnest.segmentation import SegmentationSpec, get_segmentation_spec, list_segmentation_models
from resnest.spec import ResNeStSpec, get_spec, list_models

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
