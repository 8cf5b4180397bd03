"""What networks are, in numbers. Imports: the standard library."""

from resnest.specs.detection import DetectionSpec, get_detection_spec, list_detection_models
from resnest.specs.networks import Network, find
from resnest.specs.published import get_spec, list_models
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation import SegmentationSpec, get_segmentation_spec, list_segmentation_models

__all__ = [
    "DetectionSpec",
    "Network",
    "ResNeStSpec",
    "SegmentationSpec",
    "find",
    "get_detection_spec",
    "get_segmentation_spec",
    "get_spec",
    "list_detection_models",
    "list_models",
    "list_segmentation_models",
]
