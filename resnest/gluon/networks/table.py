"""Which network a spec is of, in MXNet Gluon."""

from __future__ import annotations

from typing import Any

from resnest.gluon.networks.detection import Detector
from resnest.gluon.networks.resnest import ResNeSt
from resnest.gluon.networks.segmentation import Segmenter
from resnest.specs.detection.network import DetectionSpec
from resnest.specs.resnest import ResNeStSpec
from resnest.specs.segmentation.network import SegmentationSpec

NETWORKS: dict[type, Any] = {ResNeStSpec: ResNeSt, SegmentationSpec: Segmenter, DetectionSpec: Detector}
"""Kind of spec -> the network that is built from one."""
