"""Detectors: `network`, of the `heads`."""

from resnest.gluon.networks.detection.network import Detector, create_detector

__all__ = ["Detector", "create_detector"]
