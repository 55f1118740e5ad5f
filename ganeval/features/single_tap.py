"""A network with one output, behind the interface of all networks."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import Tensor, nn


class SingleTap(nn.Module):
    """``module(x, taps) -> {tap: network(x)}``."""

    def __init__(self, network: Callable[[Tensor], Tensor], tap: str) -> None:
        super().__init__()
        self.network = network
        self.tap = tap

    def forward(self, x: Tensor, taps: Collection[str] = ()) -> dict[str, Tensor]:
        return {self.tap: self.network(x)}
