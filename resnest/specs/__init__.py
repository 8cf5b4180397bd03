"""What networks are, in numbers. Imports: the standard library."""

from resnest.specs.networks import Network, find
from resnest.specs.resnest import ResNeStSpec, get_spec, list_models
from resnest.specs.segmentation import SegmentationSpec, get_segmentation_spec, list_segmentation_models

__all__ = [
    "Network",
    "ResNeStSpec",
    "SegmentationSpec",
    "find",
    "get_segmentation_spec",
    "get_spec",
    "list_models",
    "list_segmentation_models",
]
