"""VGG16 up to its second fully connected layer: the features of improved precision and recall."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torchvision.models import vgg16

from ganeval.arithmetic import plain_defaults
from ganeval.features.load_state import load_state

_FC2 = 5  # of the classifier: linear, ReLU, dropout, linear, ReLU


class VGG16(nn.Module):
    """``module(x, taps) -> {"4096": (N, 4096)}``: after the second fully connected layer and its ReLU.

    Shape: float32 (N, 3, 224, 224) with ImageNet's mean and deviation taken out.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, taps: Collection[str] = ("4096",)) -> dict[str, Tensor]:
        x = torch.flatten(self.network.avgpool(self.network.features(x)), 1)  # type: ignore[operator]
        return {"4096": self.network.classifier[:_FC2](x)}  # type: ignore[index, operator]


@plain_defaults()
def load_vgg16(state_dict: Mapping[str, Tensor], *, device: torch.device | str = "cpu") -> VGG16:
    """The network with the given weights, under torchvision's names.

    Peers:
        Features equal torch-fidelity's ``vgg16`` (of which NVIDIA's file is a copy) under the same weights to 1e-5 of
        the largest feature.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape, or not finite.
    """
    network = load_state(lambda: vgg16(weights=None, init_weights=False), state_dict, "torchvision's VGG16")
    return VGG16(network.to(device).to(memory_format=torch.channels_last)).eval()
