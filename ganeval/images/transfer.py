"""Copy tensors to an accelerator and back without waiting for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; from the host through page-locked memory, so that the host does not wait for CUDA."""
    if tensor.device.type != "cpu":  # what comes to the host has to be there
        return tensor.to(device)
    # the allocator of page-locked memory keeps the source until the copy is done
    source = tensor.pin_memory() if device.type == "cuda" else tensor
    return source.to(device, non_blocking=True)


def start_fetch(tensor: Tensor) -> Callable[[], Tensor]:
    """Start to copy a tensor to the host. The returned function waits for the copy and returns it."""
    if tensor.device.type != "cuda":
        return tensor.cpu
    host = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=True)
    host.copy_(tensor, non_blocking=True)
    event = torch.cuda.current_stream(tensor.device).record_event()

    def arrived() -> Tensor:
        event.synchronize()
        return host

    return arrived
