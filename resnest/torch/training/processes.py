"""Several processes that train one network: what they add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import distributed


class Processes:
    """Those that `torchrun` started and `init_process_group` made known to each other; alone, this one."""

    def __init__(self, device: torch.device):
        self.device = device
        self.number = distributed.get_world_size() if distributed.is_initialized() else 1

    def wrap(self, model: Any) -> Any:
        """The model, whose gradients a backward pass replaces by their mean over the processes."""
        if self.number == 1:
            return model
        # Each process has its own running statistics, whose mean is taken where somebody looks: see `mean`.
        devices = [self.device] if self.device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(
            model, device_ids=devices, broadcast_buffers=False, gradient_as_bucket_view=True
        )

    def total(self, numbers: np.ndarray) -> np.ndarray:
        """The sum of every process's float64 `numbers`."""
        if self.number == 1:
            return numbers
        tensor = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        distributed.all_reduce(tensor)
        return tensor.cpu().numpy()
