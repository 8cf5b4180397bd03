"""ResNeSt (Split-Attention Networks) in PyTorch and MXNet Gluon, from one spec.

Importing this package imports no framework: `resnest.torch` and `resnest.gluon` do.
"""

from resnest.specs import (
    DetectionSpec,
    ResNeStSpec,
    SegmentationSpec,
    get_detection_spec,
    get_segmentation_spec,
    get_spec,
    list_detection_models,
    list_models,
    list_segmentation_models,
)

__version__ = "0.1.0"

__all__ = [
    "DetectionSpec",
    "ResNeStSpec",
    "SegmentationSpec",
    "__version__",
    "get_detection_spec",
    "get_segmentation_spec",
    "get_spec",
    "list_detection_models",
    "list_models",
    "list_segmentation_models",
]
