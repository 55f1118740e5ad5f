"""``compact-v1``: the small feature network that ships with the package, so that nothing has to be downloaded.

A plain convolutional classifier of CIFAR-10's ten classes with 2.6 million parameters. It is *not* Inception: a
Frechet distance on it is ``FD[compact-v1]``, is not comparable with any published FID, and sees texture and the
coarse shape of ten kinds of object, at 32 x 32 pixels. `python scripts/train_compact.py` trains it from scratch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ganeval.arithmetic import plain_defaults
from ganeval.features.load_state import load_state
from ganeval.parsing.arguments import option

COMPACT_SIZE = 32

# The maxima over space of so many channels: of the last block for what the image shows (shuffled tiles, missing
# classes), of the first for what its pixels are like (without those, ten per cent of foreign images go unnoticed).
_FEATURES = {"block3": 224, "block1": 32}
FEATURES = sum(_FEATURES.values())
_SHIFTS = {0: 0.5, -1: 0.25, 1: 0.25}  # six views: weights of the image and of its copies moved by so many pixels
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Block(nn.Module):
    """Two 3 x 3 convolutions, the size halved by a maximum after the first; if ``deep``, a residual one after them.

    The first two normalisations have no scale of their own, so they increase monotonically and commute with the
    maximum; all can be folded into the convolution before them.
    """

    def __init__(self, channels_in: int, channels_out: int, *, deep: bool, folded: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=folded)
        self.norm1 = nn.Identity() if folded else _norm(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=folded)
        self.norm2 = nn.Identity() if folded else _norm(channels_out)
        self.deep = deep
        if deep:
            self.conv3 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=folded)
            self.norm3 = nn.Identity() if folded else nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.gelu(self.norm1(nn.functional.max_pool2d(self.conv1(x), 2)))
        x = nn.functional.gelu(self.norm2(self.conv2(x)))
        return x + nn.functional.gelu(self.norm3(self.conv3(x))) if self.deep else x

    def fold(self) -> None:
        for i in (1, 2, 3) if self.deep else (1, 2):
            conv, norm = getattr(self, f"conv{i}"), getattr(self, f"norm{i}")
            setattr(self, f"conv{i}", fuse_conv_bn_eval(conv, norm))
            setattr(self, f"norm{i}", nn.Identity())


def _norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    norm.weight.requires_grad_(False)
    return norm


class CompactNet(nn.Module):
    """Whitened 2 x 2 patches, then three blocks, a global mean and a linear classifier.

    Shape:
        float (N, 3, 32, 32) in [-1, 1] -> maps block1 (N, 64, 15, 15), block2 (N, 256, 7, 7), block3 (N, 256, 3, 3);
        features (N, 256), maxima of those maps; logits (N, 10).

    Args:
        folded: the form that ships: batch normalisation is inside the convolutions.
        deep: with the residual convolutions of the first two blocks; without them only in the first stage of training.
    """

    def __init__(self, *, folded: bool = True, deep: bool = True) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)  # principal directions of 2 x 2 patches and their negatives; not trained
        self.blocks = nn.ModuleList(
            [
                Block(24, 64, deep=deep, folded=folded),
                Block(64, 256, deep=deep, folded=folded),
                Block(256, 256, deep=False, folded=folded),
            ]
        )
        self.classifier = nn.Linear(256, len(CLASSES))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        out: dict[str, Tensor] = {}
        x = nn.functional.gelu(self.whiten(x))
        for i, block in enumerate(self.blocks, start=1):
            x = block(x)
            out[f"block{i}"] = x
        out["features"] = torch.cat([out[block].amax(dim=(2, 3))[:, :n] for block, n in _FEATURES.items()], dim=1)
        out["logits"] = self.classifier(x.mean(dim=(2, 3)))
        return out

    def fold(self) -> CompactNet:
        """Put the normalisation into the convolutions, in place (evaluation mode only)."""
        for block in self.blocks:
            cast(Block, block).fold()
        return self


class CompactFeatures(nn.Module):
    """The network behind the interface of the extractors: ``module(x, taps) -> {tap: (N, d)}``.

    ``logits-1`` are the logits of the image as it is: they cost nothing beyond the features. ``logits-6`` are a
    weighted mean over six views: the image and its mirror image, each as it is and moved by one pixel both ways along a
    diagonal (borders reflected, as in training). The mean depends little on the side that an animal looks to or on a
    pixel. It takes five further passes and corrects one wrong answer in nine.
    """

    def __init__(self, network: CompactNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, taps: tuple[str, ...]) -> dict[str, Tensor]:
        out = self.network(x.contiguous(memory_format=torch.channels_last))
        rows = {str(FEATURES): out["features"], "logits-1": out["logits"]}
        if "logits-6" in taps:
            rows["logits-6"] = self._mean_of_views(x, out["logits"])
        return {tap: rows[tap] for tap in taps}

    def _mean_of_views(self, x: Tensor, logits: Tensor) -> Tensor:
        """The weighted mean logits of six views.

        Args:
            logits: of the images as they are.
        """
        mean = _SHIFTS[0] / 2 * (logits + self._logits(x.flip(3), 0))
        for shift in (-1, 1):
            mean += _SHIFTS[shift] / 2 * (self._logits(x, shift) + self._logits(x.flip(3), shift))
        return mean

    def _logits(self, x: Tensor, shift: int) -> Tensor:
        """Logits of the images moved by ``shift`` pixels, down and to the right."""
        size, start = x.shape[2], 1 - shift
        x = nn.functional.pad(x, (1, 1, 1, 1), mode="reflect")[:, :, start : start + size, start : start + size]
        logits: Tensor = self.network(x.contiguous(memory_format=torch.channels_last))["logits"]
        return logits


@plain_defaults()
def load_compact(state_dict: Mapping[str, Tensor], *, device: torch.device | str = "cpu") -> CompactFeatures:
    """The network with the given weights: float16 in the file, float32 here.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape, or not finite.
    """
    network = load_state(
        CompactNet,
        state_dict,
        "the compact network",
        f"Leave {option('weights')} out to use those that ship with ganeval.",
    )
    return CompactFeatures(network.to(device).to(memory_format=torch.channels_last)).eval()
