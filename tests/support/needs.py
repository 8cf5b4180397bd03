"""Which backends a test needs: what its file or the test itself imports says it, its parameters, or a mark.

A backend that was asked for is there, or the run fails: these rules say what is left out where it was not.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable
from pathlib import Path

import pytest

IMPORTS = {
    "torch": ("torch", "torchvision", "timm", "resnest.torch", "resnest.smp", "resnest.openmmlab"),
    "gluon": ("mxnet", "gluoncv", "cv2", "resnest.gluon"),
}

PARAMETERS = {".pth": "torch", "torchscript": "torch", "pt2": "torch"}
"""File formats that a framework alone reads and writes."""


def of_file(path: Path) -> set[str]:
    """What importing the file takes."""
    return _imported(ast.parse(path.read_text()).body)


def of_test(item: pytest.Item) -> set[str]:
    """What running the test takes, when its file has been imported."""
    found = {name for name in IMPORTS if item.get_closest_marker(name)}
    if not isinstance(item, pytest.Function):
        return found
    if hasattr(item, "callspec"):
        values = item.callspec.params.values()
        found |= {PARAMETERS[value] for value in values if isinstance(value, str) and value in PARAMETERS}
    source = inspect.getsource(inspect.unwrap(item.function))
    return found | _imported(ast.walk(ast.parse(textwrap.dedent(source))))


def _imported(nodes: Iterable[ast.AST]) -> set[str]:
    modules: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {
        backend
        for backend, packages in IMPORTS.items()
        if any(f"{module}.".startswith(f"{package}.") for module in modules for package in packages)
    }
