"""From the name of a device to the device, if it is there."""

from __future__ import annotations

import torch


def device_of(name: str) -> torch.device:
    """The device called `name` ("cpu", "cuda:0", ...); ValueError where this machine has none that computes."""
    kind, colon, number = name.partition(":")
    try:
        device = torch.device({"gpu": "cuda"}.get(kind, kind) + colon + number)
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # each kind of device has errors of its own
        reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
        raise ValueError(f"PyTorch cannot compute on {name!r} here, as it can on cpu: {reason}") from None
    return device
