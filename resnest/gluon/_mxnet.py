"""The one place that imports MXNet.

MXNet 1.9.1, the last release, reads `numpy.bool` while it is imported and while it runs;
NumPy 1.24 took that name away and NumPy 2 gave it back, but took others that MXNet needs.
So the name is put back first, and NumPy 2 is refused with a sentence instead of a traceback.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator

import numpy

INSTALL = "pip install 'resnest[gluon]' (wheels exist for Linux and macOS, Python 3.10 to 3.12)"

if int(numpy.__version__.split(".")[0]) >= 2:
    raise ImportError(
        f"resnest.gluon needs NumPy below 2, because MXNet does, and found {numpy.__version__}: {INSTALL}"
    )
if "bool" not in vars(numpy):
    vars(numpy)["bool"] = numpy.bool_

# MXNet copies large arrays on OpenMP threads of whoever asks, beside those of its engine. OpenMP
# then sees more threads than processors and lets all of them sleep between operations: a
# network whose weights were loaded predicts a third slower than one with fresh weights. One
# thread copies fast enough.
os.environ.setdefault("MXNET_CPU_PARALLEL_SIZE", str(2**31 - 1))

try:
    import mxnet as mx
    from mxnet.contrib import amp
except ModuleNotFoundError as error:
    if error.name == "distutils":
        raise ImportError(f"MXNet needs distutils, which Python 3.12 left to setuptools: {INSTALL}") from error
    raise ImportError(f"resnest.gluon needs MXNet, and {error.name} is not installed: {INSTALL}") from error
except OSError as error:
    raise ImportError(f"resnest.gluon needs MXNet, whose library does not load here: {error}") from error

__all__ = ["amp", "mx", "without_notes"]

NOTE = b"MKLDNN Pooling: training with prop_kind is forward_scoring"
"""What MXNet prints once for each average pooling that it trains, and what nobody has to know: it has no other way."""


@contextlib.contextmanager
def without_notes() -> Iterator[None]:
    """Inside, what MXNet itself writes to the standard error waits for the end, and those notes are left out of it."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
            mx.nd.waitall()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            os.write(2, b"".join(line for line in said if NOTE not in line))
