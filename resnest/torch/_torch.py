"""PyTorch, or one sentence that says what to install: imported before everything else here."""

try:
    import torch as torch
except ModuleNotFoundError as error:
    raise ImportError(
        f"resnest.torch needs PyTorch, and {error.name} is not installed: pip install 'resnest[torch]'"
    ) from error
