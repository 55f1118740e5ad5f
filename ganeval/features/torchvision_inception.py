"""Torchvision's own Inception-v3, trained on ImageNet's 1000 classes. It is not the network of the FID."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torchvision.models import inception_v3

from ganeval.arithmetic import plain_defaults
from ganeval.features.load_state import load_state


class TorchvisionInception(nn.Module):
    """``module(x, taps) -> {"2048": (N, 2048), "logits": (N, 1000)}``: global mean of the last block, and classes.

    Shape: float32 (N, 3, 299, 299) in -1..1.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.fc: nn.Module = network.fc  # type: ignore[assignment]
        network.fc = nn.Identity()
        self.network = network

    def forward(self, x: Tensor, taps: Collection[str] = ("2048",)) -> dict[str, Tensor]:
        pooled = self.network(x)
        return {"2048": pooled, "logits": self.fc(pooled)} if "logits" in taps else {"2048": pooled}


@plain_defaults()
def load_torchvision_inception(
    state_dict: Mapping[str, Tensor], *, device: torch.device | str = "cpu"
) -> TorchvisionInception:
    """The network with the given weights, under torchvision's names; the auxiliary head is left out.

    Peers:
        Logits equal ``torchvision.models.inception_v3``'s to 1e-5 of the largest.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape, or not finite.
    """
    used = {name: tensor for name, tensor in state_dict.items() if not name.startswith("AuxLogits.")}
    network = load_state(
        lambda: inception_v3(weights=None, aux_logits=False, transform_input=False, init_weights=False),
        used,
        "torchvision's Inception-v3",
    )
    return TorchvisionInception(network.to(device).to(memory_format=torch.channels_last)).eval()
