"""What the toolboxes lack here: mmcv-lite its compiled operators, timm's tests the network to fetch weights over.

torchvision's operators stand in for those that detectors use, and the rest is absent; weights are drawn.
"""

import importlib.machinery
import sys
import types

import importlib_metadata
import pytest
import torch
from torchvision import ops

import resnest.weights
from resnest.weights.seeded import draw_weights


class _Operators(types.ModuleType):
    """`mmcv.ops`, or a module in it, with every name that is asked for."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*args, **kwargs):
            raise NotImplementedError(f"{self.__name__}.{name} is not in mmcv-lite")

        return type(name, (), {"__init__": missing})


class RoIAlign(torch.nn.Module):
    def __init__(self, output_size, spatial_scale=1.0, sampling_ratio=0, pool_mode="avg", aligned=True):
        super().__init__()
        self.output_size, self.options = (output_size, output_size), (spatial_scale, sampling_ratio, pool_mode, aligned)

    def forward(self, x, regions):
        return roi_align(x, regions, self.output_size, *self.options)


def roi_align(x, regions, output_size, spatial_scale=1.0, sampling_ratio=0, pool_mode="avg", aligned=True):
    assert pool_mode == "avg"
    return ops.roi_align(x, regions, output_size, spatial_scale, sampling_ratio, aligned)


def nms(boxes, scores, iou_threshold):
    kept = ops.nms(boxes, scores, iou_threshold)
    return torch.cat([boxes[kept], scores[kept, None]], dim=1), kept


def batched_nms(boxes, scores, groups, nms_cfg):
    """What mmcv's does of up to 10,000 boxes."""
    assert len(boxes) < 10_000
    found, kept = nms(boxes + (groups.to(boxes) * (boxes.max() + 1))[:, None], scores, nms_cfg["iou_threshold"])
    return torch.cat([boxes[kept], found[:, 4:]], dim=1), kept


class _Finder:
    """Finds every module below `mmcv.ops`."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".ops")[:2] == ("mmcv", ".ops"):
            return importlib.machinery.ModuleSpec(name, _Finder)
        return None

    @staticmethod
    def create_module(spec):
        module = _Operators(spec.name)
        module.__path__ = []
        module.RoIAlign, module.roi_align, module.nms, module.batched_nms = RoIAlign, roi_align, nms, batched_nms
        return module

    @staticmethod
    def exec_module(module):
        pass


sys.meta_path.insert(0, _Finder)


def _distribution(name):
    if name == "transformers":
        raise importlib_metadata.PackageNotFoundError(name)
    return _found(name)


# mmpretrain, which mmdetection imports, leaves its multimodal networks out where there is no transformers; beside
# transformers 5 they cannot be imported.
_found, importlib_metadata.distribution = importlib_metadata.distribution, _distribution
import mmpretrain.models  # noqa: E402, F401

importlib_metadata.distribution = _found


MARKS = {
    "segmentation-models-pytorch": "compile logits_match torch_export torch_script",
    "timm": "backward base cfg cfg_nonstd features forward fxbackward fxforward timeout torchscript",
}


def pytest_configure(config):
    for library, marks in MARKS.items():
        for mark in marks.split():
            config.addinivalue_line("markers", f"{mark}: in {library}'s own tests")


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Published weights that are drawn, for there is no network."""

    def download(name, source=None, **options):
        resnest.weights.save(draw_weights(resnest.get_spec(name)), tmp_path / "model.safetensors")
        return tmp_path / "model.safetensors"

    monkeypatch.setattr("resnest.weights.published.pretrained.download", download)
