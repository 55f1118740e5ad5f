"""CLIP's image side (Radford et al. 2021): the projected embedding, not normalised.

The forward pass is open_clip's. The published files are TorchScript archives, which are code: such a file is opened
only after its hash has proved it to be the published one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ganeval.arithmetic import plain_defaults
from ganeval.features.fill import filled, library
from ganeval.features.weights import load_state_dict, load_torchscript

_PREFIX = "visual."
_HEAD = 64  # channels of an attention head, in every published model


@dataclass(frozen=True, slots=True)
class Shape:
    """Of the vision transformer; ``image_size`` and ``patch_size`` in pixels."""

    image_size: int
    patch_size: int
    width: int
    layers: int
    output_dim: int


SHAPES = {
    "clip-vitb32": Shape(image_size=224, patch_size=32, width=768, layers=12, output_dim=512),
    "clip-vitl14-336": Shape(image_size=336, patch_size=14, width=1024, layers=24, output_dim=768),
}


class CLIPImage(nn.Module):
    """``module(x, taps) -> {width: (N, width)}``: the class token after the last normalisation, projected.

    Shape: float32 (N, 3, S, S) with CLIP's mean and deviation taken out.
    """

    def __init__(self, network: nn.Module, tap: str) -> None:
        super().__init__()
        self.network = network
        self.tap = tap

    def forward(self, x: Tensor, taps: Collection[str] = ()) -> dict[str, Tensor]:
        return {self.tap: self.network(x)}


@plain_defaults()
def load_clip(state_dict: Mapping[str, Tensor], shape: Shape, *, device: torch.device | str = "cpu") -> CLIPImage:
    """The image side with the given weights, under the names of the published files.

    Args:
        state_dict: of the whole model (the text side is left out) or of the image side alone.

    Raises:
        ConfigError: open_clip is not installed.
        WeightsError: a tensor is missing, unexpected, of another shape, or not finite.
    """
    towers = library("open_clip.transformer", "clip", "CLIP")
    visual = {key.removeprefix(_PREFIX): tensor for key, tensor in state_dict.items() if key.startswith(_PREFIX)}

    def build() -> nn.Module:
        heads = shape.width // _HEAD
        network: nn.Module = towers.VisionTransformer(
            **asdict(shape), heads=heads, mlp_ratio=4.0, act_layer=towers.QuickGELU
        )
        return network

    network = filled(build, visual or state_dict, "CLIP's image side")
    return CLIPImage(network.to(device), str(shape.output_dim)).eval()


def read_clip(path: Path, *, published: bool) -> dict[str, Tensor]:
    """The tensors of a file.

    Args:
        published: the file's hash is that of the published one; only then it may be a TorchScript archive.

    Raises:
        WeightsError: damaged, no dictionary of tensors, or code of unknown origin.
    """
    return dict(load_torchscript(path).state_dict()) if published else load_state_dict(path)
