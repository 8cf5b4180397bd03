"""Our backbones as encoders of segmentation-models-pytorch: importing this module registers them.

`segmentation_models_pytorch.DeepLabV3Plus("resnest50", encoder_weights=None)` then works, at
any `encoder_output_stride`. The encoder's weights are loaded as every model's are:
`resnest.torch.load_weights(model.encoder, resnest.weights.load(path))`.
"""

# No `from __future__ import annotations`: TorchScript reads types there, not names.

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from resnest.specs.published import get_spec, list_models
from resnest.specs.resnest import ResNeStSpec
from resnest.torch.layers.basic import laid_out, lying_like
from resnest.torch.networks.resnest import ResNeStFeatures

try:
    from segmentation_models_pytorch.encoders import encoders
    from segmentation_models_pytorch.encoders._base import EncoderMixin
except ModuleNotFoundError as error:
    raise ImportError(
        f"resnest.smp needs segmentation-models-pytorch, and {error.name} is not installed:"
        " pip install segmentation-models-pytorch"
    ) from error


class ResNeStEncoder(ResNeStFeatures, EncoderMixin):
    """(N, C, H, W) -> `depth` + 1 maps, each half as large as the last: input, stem before its pooling, stages.

    Dilated stages (`output_stride` 16 or 8) keep the size of the one before.
    """

    def __init__(self, name: str, depth: int = 5, output_stride: int = 32, **changes: Any):
        if not 1 <= depth <= 5:
            raise ValueError(f"depth={depth!r} must be 1 (the stem) to 5 (all four stages)")
        super().__init__(get_spec(name, output_stride=output_stride, **changes), out_indices=[max(depth - 1, 0)])
        self._depth = depth
        self._in_channels = self.spec.in_channels
        self._output_stride = output_stride
        self._out_channels = [self.spec.in_channels, *self.spec.feature_channels]

    @classmethod
    def from_spec(cls, spec: ResNeStSpec, **options: Any) -> "ResNeStEncoder":
        return cls(**options | dataclasses.asdict(spec))

    def rebuilt(self, spec: ResNeStSpec) -> "ResNeStEncoder":
        return self.from_spec(spec, depth=self._depth)

    def forward(self, x: Tensor) -> list[Tensor]:
        stem = self.relu(self.bn1(self.conv1(laid_out(x, self.many_pixels))))
        stage1 = self.layer1(self.maxpool(stem))
        stage2 = self.layer2(stage1)
        stage3 = self.layer3(stage2)
        stage4 = self.layer4(stage3)  # stages past `depth` are not built, and pass their input on
        return [lying_like(stage, x) for stage in [x, stem, stage1, stage2, stage3, stage4][: self._depth + 1]]

    def set_in_channels(self, in_channels: int, pretrained: bool = True) -> None:
        super().set_in_channels(in_channels, pretrained)
        self.spec = dataclasses.replace(self.spec, in_channels=in_channels)

    def make_dilated(self, output_stride: int) -> None:
        """Trade the late stages' strides for dilation, keeping their weights.

        The library's own way looks for strides in convolutions, and a ResNeSt's are in its poolings.
        """
        spec = self.spec.at_stride(output_stride)
        with torch.device("meta"):
            dilated = ResNeStFeatures(spec, out_indices=self.out_indices)
        # What holds weights or statistics stays as it is: trained, frozen, in eval mode, or replaced by another norm.
        pools = nn.AvgPool2d, nn.Identity
        for name, module in dilated.named_modules():
            ours: Any = self.get_submodule(name)
            if isinstance(module, nn.Conv2d):
                ours.stride, ours.padding, ours.dilation = module.stride, module.padding, module.dilation
            elif isinstance(module, pools) and isinstance(ours, pools):
                parent, _, attribute = name.rpartition(".")
                setattr(self.get_submodule(parent), attribute, module.train(ours.training))
        self.spec = spec
        self._output_stride = output_stride


encoders.update(
    {name: {"encoder": ResNeStEncoder, "params": {"name": name}, "pretrained_settings": {}} for name in list_models()}
)
