"""Segmentation networks small enough for a test, and one face for both backends' of them."""

import importlib

from resnest import SegmentationSpec, get_spec
from resnest.weights.seeded import draw_weights

TINY = get_spec("resnest14", bottleneck_width=8, stem_width=8, output_stride=8, dilated_pooling="openmmlab")
HEADS = ("fcn", "psp", "aspp", "aspp_sep")


def tiny(head="fcn", **changes):
    fields = {"channels": 8, "auxiliary_channels": 4, "backbone": TINY} | changes
    return SegmentationSpec("tiny", head, 5, **fields)


class Side:
    """A backend's segmentation networks behind NumPy arrays."""

    def __init__(self, name):
        self.name = name
        self.module = importlib.import_module(f"resnest.{name}.networks.segmentation")
        self.weights = importlib.import_module(f"resnest.{name}.weights")

    def build(self, spec, weights=None, dtype="float64"):
        model = self.module.Segmenter(spec)
        self.weights.load_weights(model, draw_weights(spec) if weights is None else weights)
        return self.cast(model, dtype)

    def cast(self, model, dtype):
        if self.name == "torch":
            import torch

            return model.to(getattr(torch, dtype)).eval()
        model.cast(dtype)
        return model

    def array(self, x):
        if self.name == "torch":
            import torch

            return torch.from_numpy(x)
        from resnest.gluon._mxnet import mx

        return mx.nd.array(x, dtype=x.dtype)

    def numpy(self, x):
        return x.detach().numpy() if self.name == "torch" else x.asnumpy()

    def train(self, model, x):
        if self.name == "torch":
            return model.train()(self.array(x))
        from resnest.gluon._mxnet import mx

        with mx.autograd.record():
            return model(self.array(x))
