"""Which backends a test needs: those that its file or the test itself imports, and those it is marked with."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable
from pathlib import Path

import pytest

IMPORTS = {
    "torch": ("torch", "torchvision", "timm", "resnest.torch", "resnest.smp", "resnest.openmmlab"),
    "gluon": ("mxnet", "gluoncv", "resnest.gluon"),
}


def of_file(path: Path) -> set[str]:
    """What importing the file takes."""
    return _imported(ast.parse(path.read_text()).body)


def of_test(item: pytest.Item) -> set[str]:
    """What running the test takes, when its file has been imported."""
    marked = {name for name in IMPORTS if item.get_closest_marker(name)}
    function = inspect.unwrap(item.function) if isinstance(item, pytest.Function) else None
    if function is None:
        return marked
    return marked | _imported(ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))))


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
