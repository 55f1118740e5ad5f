"""DINOv2 (Oquab et al. 2023): the class token of a vision transformer that was trained without labels.

The forward pass is timm's, whose parameters have the names of the published files. The position grid is not: those
files hold one of 37 x 37 places, for 518 pixels, and the publisher's code stretches it to the 16 x 16 of 224 pixels
bicubically, without antialiasing, by the factor 16.1 / 37 in place of 16 / 37. timm would antialias and use the exact
factor; so the grid is brought to size here, once, while the weights are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ganeval.arithmetic import plain_defaults
from ganeval.errors import WeightsError
from ganeval.features.load_state import load_state
from ganeval.features.single_tap import SingleTap

SIZE, PATCH = 224, 14
_OFFSET = 0.1  # of the publisher's code, added to the number of places before it is divided by that of the file


@plain_defaults()
def load_dinov2(
    state_dict: Mapping[str, Tensor],
    architecture: str = "vit_large_patch14_dinov2",
    *,
    device: torch.device | str = "cpu",
) -> SingleTap:
    """The network with the given weights, under the names of the published files.

    Its one tap is the class token after the last normalisation, named by its width.

    Shape: float32 (N, 3, 224, 224) with ImageNet's mean and deviation taken out -> (N, width).

    Args:
        state_dict: with a position grid of any size; ``mask_token``, which only training uses, is left out.
        architecture: timm's name of it.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape, or not finite.
    """
    import timm

    used = {key: tensor for key, tensor in state_dict.items() if key != "mask_token"}
    if "pos_embed" in used:
        used["pos_embed"] = resized_positions(used["pos_embed"], SIZE // PATCH)
    network = load_state(
        lambda: timm.create_model(architecture, pretrained=False, num_classes=0, img_size=SIZE),
        used,
        f"DINOv2 ({architecture})",
    )
    return SingleTap(network.to(device), str(network.num_features)).eval()


def resized_positions(positions: Tensor, places: int) -> Tensor:
    """The position embedding for a grid of ``places`` x ``places``, as the publisher's code stretches it.

    With the factor f = (places + 0.1) / M, place i is read at (i + 0.5) / f - 0.5 of the M places there are, by a cubic
    of a = -0.75; the class token's embedding stays as it is.

    Shape:
        (1, 1 + M * M, d) -> (1, 1 + places * places, d)

    Raises:
        WeightsError: the grid is not square.
    """
    side = round((positions.shape[1] - 1) ** 0.5)
    if positions.ndim != 3 or side * side != positions.shape[1] - 1:
        raise WeightsError(f"The position embedding has shape {tuple(positions.shape)}, which is no square grid.")
    if side == places:
        return positions
    grid = positions[:, 1:].float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factor = (places + _OFFSET) / side
    grid = interpolate(grid, scale_factor=(factor, factor), mode="bicubic", antialias=False)
    return torch.cat([positions[:, :1].float(), grid.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)
