"""PyTorch's `.pth` files, one tensor at a time. Only this module of `resnest.weights` needs PyTorch."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from resnest.weights.formats.tensors import Header, Tensors, check_claim

WINDOW = 64 << 20
"""So many bytes are read through one memory map before it is given back and made anew."""


WRAPPERS = ("state_dict_ema", "model_ema", "ema_state_dict", "state_dict", "model")
"""Where trainers put the state dict; the averaged weights come first, because they are those that were evaluated."""

MOST_WRAPPERS = 4


def read(path: Path) -> Tensors:
    """The tensors of the file at `path`.

    No code in the file is run. Raises ValueError where the file needs that or holds no
    tensors, and ImportError without PyTorch.
    """
    torch = _torch(path)
    state = _load(path)
    touched = 0

    def as_numpy(tensor: Any) -> np.ndarray:
        # NumPy has neither bfloat16 nor 8-bit floats.
        has = tensor.dtype in (torch.float16, torch.float32, torch.float64) or not tensor.is_floating_point()
        return (tensor if has else tensor.float()).detach().numpy()

    def read_tensor(name: str) -> np.ndarray:
        nonlocal state, touched
        if touched > WINDOW:
            state, touched = _load(path), 0
        touched += state[name].nbytes
        return as_numpy(state[name]).copy()

    headers = {name: Header(tuple(tensor.shape), as_numpy(tensor.new_empty(0)).dtype) for name, tensor in state.items()}
    # Many tensors, and all elements of one, may be the same few bytes of the file.
    check_claim(sum(prod(shape) * dtype.itemsize for shape, dtype in headers.values()), path.stat().st_size)
    return Tensors(headers, read_tensor)


def write(file: BinaryIO, arrays: Tensors) -> None:
    """Write a state dict that `torch.load(weights_only=True)` reads.

    PyTorch has to have all of it in memory at once: the file's size comes on top of PyTorch's own, where
    every other format takes that of one tensor.
    """
    torch = _torch(file.name)
    state = {name: torch.from_numpy(np.require(arrays[name], requirements=("C", "W"))) for name in arrays}
    try:
        torch.save(state, file)
    except RuntimeError as error:  # its writer complains of positions where the disk is full
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def _load(path: Path) -> Mapping[str, Any]:
    torch = _torch(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise ValueError(
            "it holds more than tensors, and reading that could run code in it: load it where you trust it and"
            f" save its state dict alone ({_first_line(error)})"
        ) from None
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(f"it cannot be read as a PyTorch file: {_first_line(error)}") from None
    state = _unwrap(content)
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) and tensor.layout is torch.strided
        for name, tensor in state.items()
    ):
        raise ValueError(f"it holds a {type(state).__name__} that is no state dict (a dict of dense tensors by name)")
    return state


def _unwrap(content: Any) -> Any:
    """The state dict in a checkpoint that holds more beside it."""
    for _ in range(MOST_WRAPPERS):
        inner = [content.get(key) for key in WRAPPERS] if isinstance(content, Mapping) else []
        inner = [state for state in inner if isinstance(state, Mapping)]
        if not inner:
            break
        content = inner[0]
    return content


def _torch(path: object) -> ModuleType:
    try:
        import torch
    except ModuleNotFoundError:
        raise ImportError(f"{path}: files of this format need PyTorch: pip install 'resnest[torch]'") from None
    return torch


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
