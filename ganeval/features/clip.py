"""CLIP's image side (Radford et al. 2021): the projected embedding, not normalised. The forward pass is open_clip's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ganeval.arithmetic import plain_defaults
from ganeval.features.load_state import load_state
from ganeval.features.single_tap import SingleTap

_PREFIX = "visual."
_HEAD = 64  # channels of an attention head, in every published model


@plain_defaults()
def load_clip(
    state_dict: Mapping[str, Tensor],
    *,
    width: int,
    output_dim: int,
    device: torch.device | str = "cpu",
    **shape: int,
) -> SingleTap:
    """The image side with the given weights, under the names of the published files.

    Its one tap is the class token after the last normalisation, projected; it is named by its width.

    Shape: float32 (N, 3, image_size, image_size) with CLIP's mean and deviation taken out -> (N, output_dim).

    Args:
        state_dict: of the whole model (the text side is left out) or of the image side alone.
        width: of the vision transformer.
        output_dim: of the projection.
        shape: ``image_size`` and ``patch_size`` in pixels, and ``layers``.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape, or not finite.
    """
    from open_clip.transformer import QuickGELU, VisionTransformer

    visual = {key.removeprefix(_PREFIX): tensor for key, tensor in state_dict.items() if key.startswith(_PREFIX)}

    def build() -> nn.Module:
        heads = width // _HEAD
        network: nn.Module = VisionTransformer(
            **shape, width=width, heads=heads, mlp_ratio=4.0, output_dim=output_dim, act_layer=QuickGELU
        )
        return network

    network = load_state(build, visual or state_dict, "CLIP's image side")
    return SingleTap(network.to(device), str(output_dim)).eval()
