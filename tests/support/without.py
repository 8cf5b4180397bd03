"""Processes in which something cannot be imported."""

import importlib.metadata
import subprocess
import sys
from collections.abc import Collection


class ShutOut:
    """An importer that comes before all others and knows that `names` are not installed."""

    def __init__(self, names: Collection[str]):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def shut_out(*names: str) -> None:
    """Let `import name` fail from here on, as if it were not installed."""
    sys.meta_path.insert(0, ShutOut(names))
    found = importlib.metadata.Distribution.from_name

    def from_name(name: str) -> importlib.metadata.Distribution:
        if name in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    importlib.metadata.Distribution.from_name = from_name


def run_without(names: Collection[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a process of its own in which none of `names` can be imported."""
    code = f"from tests.support.without import shut_out; shut_out(*{list(names)!r}); {code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
