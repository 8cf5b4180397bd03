"""Other libraries' own tests, from what `make test-peers` has fetched: their packages come without them."""

import importlib
import sys
from pathlib import Path

import pytest

SUITES = Path(__file__).parents[1] / ".venv-peers" / "suites"


def theirs(library, module):
    """A module of the tests of `library`, which are a package called `tests` as ours are."""
    checkout = SUITES / library
    if not (checkout / Path(*module.split("."))).with_suffix(".py").exists():
        pytest.skip(f"there are no tests of {library} in {checkout}", allow_module_level=True)
    own = {name: sys.modules.pop(name) for name in [*sys.modules] if name.partition(".")[0] == "tests"}
    sys.path.insert(0, str(checkout))
    try:
        return importlib.import_module(module)
    finally:
        sys.path.remove(str(checkout))
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        sys.modules.update(own)
