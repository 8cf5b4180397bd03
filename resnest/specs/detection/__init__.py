"""What detectors are: `network`, of the `heads`, on the `anchors` that they start from."""

from resnest.specs.detection.network import DetectionSpec
from resnest.specs.detection.published import get_detection_spec, list_detection_models

__all__ = ["DetectionSpec", "get_detection_spec", "list_detection_models"]
