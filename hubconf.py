"""What `torch.hub.load(REPOSITORY, NAME, pretrained=True, ...)` can load: every builder of `resnest.torch`."""

dependencies = ["filelock", "huggingface_hub", "numpy", "PIL", "rich", "safetensors", "torch"]

from resnest.torch.builders import *  # noqa: E402, F403  # torch.hub reads `dependencies` first; its __all__
