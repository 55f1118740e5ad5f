"""The weights of a network: always on the host, and on the accelerator while it is used."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Residence:
    """Moves a network to its accelerator with one copy, and away again with none.

    Weights do not change, so the host keeps them: in page-locked memory for CUDA, which copies them without
    a wait.

    Args:
        network: on the host; its parameters and buffers are replaced.

    Attributes:
        entered: whether the accelerator has a copy.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self._device, self.entered = device, False
        self._slots: list[tuple[dict[str, Any], str, int]] = []  # the place of each tensor, and its number
        tensors: list[Tensor] = []
        numbers: dict[int, int] = {}  # by identity: two layers may share a tensor
        for module in network.modules():
            for slots in (module._parameters, module._buffers):
                for name, tensor in slots.items():
                    if tensor is not None:
                        if id(tensor) not in numbers:
                            numbers[id(tensor)] = len(tensors)
                            tensors.append(tensor.detach())
                        self._slots.append((slots, name, numbers[id(tensor)]))
        self._host = [self._pinned(tensor) for tensor in tensors]
        self._fill(self._host)

    @torch.inference_mode(False)  # a copy made inside inference mode could not be used outside
    def enter(self) -> None:
        """Put a copy on the accelerator, unless there is one."""
        if not self.entered:
            self._fill([tensor.to(self._device, non_blocking=True) for tensor in self._host])
            self.entered = True

    def leave(self) -> None:
        """Drop the accelerator's copy."""
        self._fill(self._host)
        self.entered = False

    def cast(self, dtype: torch.dtype) -> None:
        """Cast all floating-point weights to another type, for good."""
        self.leave()
        self._host = [self._pinned(one.to(dtype)) if one.is_floating_point() else one for one in self._host]
        self._fill(self._host)

    def _pinned(self, tensor: Tensor) -> Tensor:
        if self._device.type != "cuda":
            return tensor
        try:
            return tensor.pin_memory()
        except RuntimeError:  # no more memory can be locked: the copy waits, and is right
            return tensor

    def _fill(self, tensors: list[Tensor]) -> None:
        for slots, name, number in self._slots:
            weight = isinstance(slots[name], nn.Parameter)
            slots[name] = nn.Parameter(tensors[number], requires_grad=False) if weight else tensors[number]
