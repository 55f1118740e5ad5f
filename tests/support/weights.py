"""Random weights for large networks, in little memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def windows(shapes: Mapping[str, torch.Size], seed: int = 0) -> dict[str, Tensor]:
    """Random tensors of these shapes, of the size that keeps activations of order one, in little memory."""
    random = torch.Generator().manual_seed(seed)
    out = {}
    for name, shape in shapes.items():
        fan_in = math.prod(shape[1:])
        scale, shift = (1 / math.sqrt(fan_in), 0.0) if len(shape) > 1 else (0.1, 1.0 if "weight" in name else 0.0)
        if "gamma" in name:
            shift = 0.5
        if "embed" in name:
            scale, shift = 0.5, 0.0
        long = torch.randn(sum(n - 1 for n in shape) + 1, generator=random) * scale + shift
        out[name] = long.as_strided(shape, (1,) * len(shape))
        if name.endswith("running_var"):
            out[name] = out[name].abs() + 0.5
    return out


def of(build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    with torch.device("meta"):
        state = build().state_dict()
    return windows({k: v.shape for k, v in state.items() if not k.endswith("num_batches_tracked")})


def clip_image_side(shape: Mapping[str, int]) -> dict[str, Tensor]:
    """Under the names of the published files, which are those of open_clip."""
    from open_clip.transformer import QuickGELU, VisionTransformer

    heads = shape["width"] // 64
    return of(lambda: VisionTransformer(**shape, heads=heads, mlp_ratio=4.0, act_layer=QuickGELU))
