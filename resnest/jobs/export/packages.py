"""The packages that exports alone need, and what to install where one is missing."""

from __future__ import annotations

from typing import Any


def import_onnx() -> Any:
    """The package `onnx`; ImportError, saying what to install, without it."""
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise ImportError(
            f"ONNX files need onnx, and {error.name} is not installed: pip install 'resnest[export]'"
        ) from error
    return onnx


def import_onnxruntime() -> Any:
    """The package `onnxruntime`; ImportError, saying what to install, without it."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ImportError(
            f"running ONNX files needs onnxruntime, and {error.name} is not installed: pip install 'resnest[export]'"
        ) from error
    return onnxruntime
