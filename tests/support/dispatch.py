"""Which operations are dispatched, and how much they write."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Dispatched(TorchDispatchMode):
    """Inside, every operation is noted.

    Attributes:
        names: of the operations in order, such as ``copy_``.
        largest: elements of the largest tensor that one of them returned and that is no view.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.largest = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        self.names.append(function.overloadpacket.__name__)
        if isinstance(made, Tensor) and not function.is_view:
            self.largest = max(self.largest, made.numel())
        return made

    def count(self, name: str) -> int:
        return self.names.count(name)
