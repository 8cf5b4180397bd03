"""What of this package works on this machine, what does not, and what mends it."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata

import numpy as np

import resnest
from resnest.backends import registry
from resnest.backends.processor import machine
from resnest.specs.published import get_spec
from resnest.weights.published.pretrained import home, offline
from resnest.weights.seeded import draw_weights

WORKS, MISSING, BROKEN = "works", "missing", "broken"

OURS = ("all", "dev", "test")
"""What the names of extras begin with that are for those who work on this package, or name others."""

SIDE = 64
"""Pixels of the image that each backend is shown."""


@dataclass(frozen=True)
class Finding:
    """How `what` is: it works, is missing, or is there and broken; what there is to know, and what mends it."""

    what: str
    state: str
    detail: str
    mend: str = ""


def examine(progress: Callable[[str], None] = lambda what: None) -> Iterator[Finding]:
    """Look at one part after the other; `progress` is told which one comes next."""
    for what, look in (
        ("machine", _machine),
        ("backends", _backends),
        ("extras", _extras),
        ("compiler", _compiler),
        ("cache", _cache),
    ):
        progress(what)
        yield from look()


def _machine() -> Iterator[Finding]:
    yield Finding("Python", WORKS, f"{platform.python_version()}, resnest {resnest.__version__}")
    yield Finding("processor", WORKS, machine())


def _backends() -> Iterator[Finding]:
    """Each backend predicts once, and is compared with the first one that works."""
    spec = get_spec("resnest14", stem_width=8, bottleneck_width=8, num_classes=5)
    weights, image = draw_weights(spec), np.ones((1, 3, SIDE, SIDE), np.float32)
    first: np.ndarray | None = None
    for name, row in registry.BACKENDS.items():
        try:
            *_, logits = registry.load(name).run_stages(spec, weights, image)
        except ImportError as error:
            state = BROKEN if installed(row.framework) else MISSING
            yield Finding(row.title, state, _line(error), f"pip install 'resnest[{row.extra}]'")
            continue
        except Exception as error:  # whatever a framework that does not fit this machine raises
            yield Finding(row.title, BROKEN, _line(error), f"pip install --force-reinstall 'resnest[{row.extra}]'")
            continue
        detail = ", ".join([version(row.framework), *_devices(name)])
        if first is None:
            first = logits
        else:
            apart = float(np.abs(logits - first).max() / np.abs(first).max())
            detail += f"; {apart:.0e} from the first backend"
        yield Finding(row.title, WORKS, detail)


def _devices(name: str) -> list[str]:
    """The devices that a backend can compute on, out of the usual ones."""
    found = []
    for device in ("cpu", "cuda", "mps", "xpu"):
        with contextlib.suppress(Exception):
            registry.load(name).device_of(device)
            found.append(device)
    return found


def _extras() -> Iterator[Finding]:
    backends = {row.extra for row in registry.BACKENDS.values()}
    for extra, packages in extras().items():
        if extra in backends or extra.startswith(OURS):
            continue
        missing = [package for package in packages if not installed(package)]
        there = ", ".join(f"{package} {version(package)}" for package in packages if package not in missing)
        if missing:
            yield Finding(extra, MISSING, f"without {', '.join(missing)}", f"pip install 'resnest[{extra}]'")
        else:
            yield Finding(extra, WORKS, there)


def extras() -> dict[str, list[str]]:
    """Name of each extra -> the packages that it adds, without those of other extras of ours."""
    found: dict[str, list[str]] = {}
    for requirement in metadata.requires("resnest") or []:
        package = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if package and extra:
            packages = found.setdefault(extra[1], [])
            if package[0] != "resnest":
                packages.append(package[0])
    return found


def versions() -> dict[str, str]:
    """The packages that resnest and its users' extras need and that are installed, and the version of each."""
    ours = re.compile(rf"extra == ['\"]({'|'.join(OURS)})")
    asked = [line for line in metadata.requires("resnest") or [] if not ours.search(line)]
    named = [re.match(r"[\w.-]+", requirement) for requirement in asked]
    packages = sorted({package[0] for package in named if package} - {"resnest"})
    return {package: found for package in packages if (found := version(package))}


def installed(package: str) -> bool:
    return bool(version(package))


def version(package: str) -> str:
    """The version of an installed package; nothing of one that is not there."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return ""


def _compiler() -> Iterator[Finding]:
    found = os.environ.get("CXX") or next(filter(None, map(shutil.which, ("g++", "clang++", "c++"))), None)
    if found:
        yield Finding("compiler", WORKS, f"{found}, for resnest.torch.optimize")
    else:
        yield Finding("compiler", MISSING, "without one resnest.torch.optimize cannot compile", "apt install g++")


def _cache() -> Iterator[Finding]:
    folder = home()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    detail = f"{folder}, {free / 1e9:.0f} GB free" + (", and RESNEST_OFFLINE forbids to download" if offline() else "")
    if os.access(there, os.W_OK):
        yield Finding("cache", WORKS, detail)
    else:
        yield Finding("cache", BROKEN, f"{there} cannot be written into", "export RESNEST_HOME=FOLDER")


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether nothing that is there is broken, and one backend works."""
    titles = {row.title for row in registry.BACKENDS.values()}
    return all(one.state != BROKEN for one in findings) and any(
        one.state == WORKS and one.what in titles for one in findings
    )
