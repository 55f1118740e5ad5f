"""How many images go through a network at once."""

from __future__ import annotations

import torch
from torch import Tensor

from ganeval.features.devices import total_memory
from ganeval.features.types import Network

_MUCH, _LITTLE = 16 * 10**9, 12 * 10**9  # bytes of an accelerator


def usual_batch(network: Network, device: torch.device) -> int:
    """A good batch size for a network on a device.

    256 images fill the last wave of a large GPU's multiprocessors better than 128; a small one has no memory for the
    maps of 128 images in the networks whose maps are large.
    """
    if device.type == "cpu":
        return network.cpu_batch
    memory = total_memory(device)
    if memory is not None and memory >= _MUCH:
        return 256
    return 64 if memory is not None and memory < _LITTLE and network.large_maps else 128


class Sizes:
    """The sizes of the batches of one network so far.

    An accelerator chooses its kernels anew for every new size, which takes as long as some hundred images. The last,
    smaller batch of a set is therefore filled up to an earlier size; a size that comes again gets kernels of its own.
    """

    def __init__(self) -> None:
        self._run: set[int] = set()
        self._once: set[int] = set()

    def filled(self, images: Tensor, fits: int | None) -> Tensor:
        """The images, with copies of the last one behind them if that is the faster way.

        Args:
            fits: the most images that the memory holds; None: not known.
        """
        n = len(images)
        larger = [size for size in self._run if size > n and (fits is None or size <= fits)]
        if n in self._run or n in self._once or not larger:
            self._run.add(n)
            return images
        self._once.add(n)
        return torch.cat([images, images[-1:].expand(min(larger) - n, -1, -1, -1)])
