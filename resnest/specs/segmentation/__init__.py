"""What segmentation networks are: `network`, of the `heads`."""

from resnest.specs.segmentation.network import SegmentationSpec
from resnest.specs.segmentation.published import get_segmentation_spec, list_segmentation_models

__all__ = ["SegmentationSpec", "get_segmentation_spec", "list_segmentation_models"]
