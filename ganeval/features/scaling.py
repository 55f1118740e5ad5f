"""The maps from pixel values 0..255 to the input range of a network, by the name that a protocol has for them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def _standardize(x: Tensor, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    return (x / 255 - _per_channel(mean, x.device)) / _per_channel(deviation, x.device)


@functools.lru_cache
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """(c, 1, 1); cached, because the host would wait for its copy to a device every time."""
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]


SCALES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "(x-128)/128": lambda x: (x - 128) / 128,
    "(x-127)/128": lambda x: (x - 127) / 128,
    "(x-127.5)/127.5": lambda x: (x - 127.5) / 127.5,
    "2*(x/255)-1": lambda x: 2 * (x / 255) - 1,
    "x/255": lambda x: x / 255,
    "x": lambda x: x,
    # means and deviations of red, green, blue over a network's training images, in 0..1
    "imagenet": lambda x: _standardize(x, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "clip": lambda x: _standardize(x, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
