"""From the name of a device to the device, if it is there."""

from __future__ import annotations

from typing import Any

from resnest.gluon._mxnet import mx


def device_of(name: str) -> Any:
    """The context called `name` ("cpu", "gpu:0", ...); ValueError where this machine has none that computes."""
    kind, _, number = name.partition(":")
    kind = {"cuda": "gpu"}.get(kind, kind)
    gpus = mx.context.num_gpus()
    known = kind in ("cpu", "gpu") and (number or "0").isdecimal()
    if not known or (kind == "gpu" and int(number or 0) >= gpus):
        raise ValueError(f"MXNet cannot compute on {name!r} here, as it can on cpu: it has {gpus} GPUs")
    return mx.Context(kind, int(number or 0))
