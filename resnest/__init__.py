"""ResNeSt (Split-Attention Networks) in PyTorch and MXNet Gluon, from one spec.

Importing this package imports no framework: `resnest.torch` and `resnest.gluon` do.
"""

from resnest.spec import ResNeStSpec, get_spec, list_models

__version__ = "0.1.0"

__all__ = ["ResNeStSpec", "__version__", "get_spec", "list_models"]
