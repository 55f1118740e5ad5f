"""The values of the metrics of pairs of images, for pairs of one size."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ganeval.arithmetic import widest_float
from ganeval.engine.pair_networks import PairNetworks
from ganeval.features.per_thread import Images, PerThreadInference
from ganeval.metrics import pairs as metric

_PIXELS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ssim": metric.ssim,
    "psnr": metric.psnr,
    "l1": metric.l1,
    "l2": metric.l2,
    "ms-ssim": metric.ms_ssim,
}
LEAST = {"ssim": metric.LEAST_SIDE, "ms-ssim": metric.LEAST_SIDE_OF_SCALES}  # pixels of the shorter side


def pair_values(
    names: Sequence[str],
    real: Tensor,
    fake: Tensor,
    networks: PairNetworks | None = None,
    channels: str = "rgb",
) -> dict[str, np.ndarray]:
    """Compute metrics of pairs of one size, on the device of the images.

    Args:
        names: of the metrics.
        real, fake: uint8 (N, 3, H, W).
        networks: of the metrics that need one; these are computed where their networks are.
        channels: of the other metrics: ``rgb``, or ``y`` for the luma.

    Returns:
        By metric, float64 (N,).
    """
    function = functools.partial(_pixel_values, names, channels)
    with torch.inference_mode():
        both = torch.stack([real, fake], 1)
        on_cpu = real.device.type == "cpu"
        found = _one_pair_each(torch.get_num_threads())(function, both) if on_cpu else function(both)
        if networks is not None:
            found |= networks.values(real, fake)
        return {name: values.double().cpu().numpy() for name, values in found.items()}


def _pixel_values(names: Sequence[str], channels: str, both: Images) -> dict[str, Tensor]:
    """Metrics of pixels, uint8 (N, 2, 3, H, W), in the widest floats of the device."""
    assert isinstance(both, Tensor)
    pixels = [images.to(widest_float(images.device)) / 255 for images in both.unbind(1)]
    if channels == "y":
        pixels = [metric.luma(images) for images in pixels]
    return {name: _PIXELS[name](*pixels) for name in names if name in _PIXELS}


@functools.cache
def _one_pair_each(threads: int) -> PerThreadInference:
    """One pair at a time in each thread: in float64 it stays in the cache of a core, which a batch does not."""
    return PerThreadInference(threads)
