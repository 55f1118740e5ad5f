"""Evaluate your own generator: a torch module, or any function that turns latents into images.

    python examples/evaluate_your_generator.py

The same from the command line, in the folder of this file (any importable ``module:callable`` will do):

    ganeval fid dataset:shapes gen:evaluate_your_generator:blobs --num-samples 400 --protocol compact
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

import ganeval


class Blobs(nn.Module):
    """Stands for your network: one soft disc on a plain ground, whose place, size and colours the latent decides."""

    latent_dim = 9  # how ganeval knows what to feed it; or pass latent_dim=9
    value_range = (-1.0, 1.0)  # which values are black and white; or pass value_range=(-1, 1)

    def __init__(self, size: int = 32) -> None:
        super().__init__()
        line = torch.linspace(-1, 1, size)
        self.register_buffer("grid", torch.stack(torch.meshgrid(line, line, indexing="ij")))

    def forward(self, z: Tensor) -> Tensor:
        """(N, 9) to (N, 3, size, size)."""
        place, radius, ground, colour = z.split([2, 1, 3, 3], dim=1)
        offset = self.grid - 0.3 * place[:, :, None, None]
        distance = offset.square().sum(dim=1, keepdim=True).sqrt()
        inside = torch.sigmoid(16 * (0.6 + 0.1 * radius[:, :, None, None] - distance))
        return torch.tanh(colour)[:, :, None, None] * inside + torch.tanh(ground)[:, :, None, None] * (1 - inside)


blobs = Blobs()


def noise(z: Tensor) -> Tensor:
    """A function is a generator too: a random colour for every pixel, uint8, so no value range is needed."""
    return (z.sigmoid() * 255).round().to(torch.uint8)


def main(n: int = 400) -> dict[str, ganeval.MetricResult]:
    # Real first, then fake. Image i is made of a latent that depends on (seed, i) alone, in evaluation mode, on the
    # device of the run; the model's mode, its device and all random states are afterwards as they were.
    options = {"num_samples": n, "protocol": "compact", "seed": 0}
    results = {
        "module": ganeval.fid("dataset:shapes", blobs, **options),
        "function": ganeval.fid("dataset:shapes", noise, latent_dim=(3, 32, 32), **options),
        # Real against real, other images: what a perfect generator would get from as many.
        "perfect": ganeval.fid("dataset:shapes@1", "dataset:shapes@2", **options),
    }
    for name, result in results.items():
        print(f"{name:>8}: {result}")
    return results


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
