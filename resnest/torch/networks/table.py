"""Which network a spec is of, in PyTorch."""

from __future__ import annotations

from typing import Any

from resnest.specs.detection.network import DetectionSpec
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import SegmentationSpec
from resnest.torch.networks.detection import Detector
from resnest.torch.networks.resnest import ResNeSt
from resnest.torch.networks.segmentation import Segmenter

NETWORKS: dict[type, Any] = {ResNeStSpec: ResNeSt, SegmentationSpec: Segmenter, DetectionSpec: Detector}
"""Kind of spec -> the network that is built from one."""
