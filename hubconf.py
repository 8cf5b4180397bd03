"""What `torch.hub.load(REPOSITORY, NAME, pretrained=True, ...)` can load: every builder of `resnest.torch`."""

dependencies = ["filelock", "huggingface_hub", "numpy", "safetensors", "torch"]

from resnest.torch import (  # noqa: E402, F401  # torch.hub reads `dependencies` first, and its entry points by name
    create_model,
    resnest14,
    resnest26,
    resnest50,
    resnest50_fast_1s1x64d,
    resnest50_fast_1s2x40d,
    resnest50_fast_1s4x24d,
    resnest50_fast_2s1x64d,
    resnest50_fast_2s2x40d,
    resnest50_fast_4s1x64d,
    resnest50_fast_4s2x40d,
    resnest101,
    resnest200,
    resnest269,
)
