"""How many images go through a network at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from ganeval.features.types import Network

_LARGE_MEMORY, _SMALL_MEMORY = 16 * 10**9, 12 * 10**9  # bytes of an accelerator's memory


def usual_batch(network: Network, device: torch.device) -> int:
    """A good batch size for a network on a device.

    256 images fill the multiprocessors of a large GPU better than 128. A small GPU has no memory for the maps of 128
    images, in networks whose maps are large.
    """
    if device.type == "cpu":
        return network.cpu_batch
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    if memory is not None and memory >= _LARGE_MEMORY:
        return 256
    return 64 if memory is not None and memory < _SMALL_MEMORY and network.large_maps else 128


class Sizes:
    """The batch sizes that one network has seen.

    An accelerator chooses its kernels again for every new size, which takes as long as some hundred images. The last,
    smaller batch of a set is therefore padded to an earlier size. A size that comes again gets its own kernels.
    """

    def __init__(self) -> None:
        self._run: set[int] = set()
        self._once: set[int] = set()

    def padded(self, images: Tensor, fits: int | None) -> Tensor:
        """The images, with copies of the last one appended where that is faster.

        Args:
            fits: the most images that fit into the memory; None if unknown.
        """
        n = len(images)
        larger = [size for size in self._run if size > n and (fits is None or size <= fits)]
        if n in self._run or n in self._once or not larger:
            self._run.add(n)
            return images
        self._once.add(n)
        return torch.cat([images, images[-1:].expand(min(larger) - n, -1, -1, -1)])
