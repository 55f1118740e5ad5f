"""EfficientNet-Lite0, a small network of ImageNet's 1000 classes whose weights a package on the index carries.

Tan and Le 2019, without squeeze and excitation, with ReLU6. The weights are TensorFlow's, so a convolution of stride 2
pads as TensorFlow does: where the number of pixels to add is odd, the odd one is on the right and below.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ganeval.arithmetic import plain_defaults
from ganeval.features.load_state import load_state
from ganeval.features.registry import NETWORKS

_TAPS = NETWORKS["efficientnet-lite0"].widths
LITE_SIZE = 224
_EPSILON = 1e-3
_STEM, _HEAD = 32, 1280
# of each stage: channels, blocks, kernel size, stride of the first block, expansion inside the blocks
_STAGES = (
    (16, 1, 3, 1, 1),
    (24, 2, 3, 2, 6),
    (40, 2, 5, 2, 6),
    (80, 3, 3, 2, 6),
    (112, 3, 5, 1, 6),
    (192, 4, 5, 2, 6),
    (320, 1, 3, 1, 6),
)


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding."""

    def __init__(self, width_in: int, width_out: int, kernel_size: int, *, stride: int = 1, groups: int = 1) -> None:
        padding = kernel_size // 2 if stride == 1 else 0  # of stride 2: depends on the size of the input
        super().__init__(width_in, width_out, kernel_size, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(pad_same(x, self.kernel_size[0], self.stride[0]))


def pad_same(x: Tensor, kernel_size: int, stride: int) -> Tensor:
    """The input with the zeros around it that TensorFlow adds before a convolution of stride 2; of stride 1 as it is.

    Shape: (N, C, H, W) -> (N, C, h, w), so that ceil(H / 2) rows are left.
    """
    if stride == 1:
        return x
    (above, below), (left, right) = (same_padding(size, kernel_size, stride) for size in x.shape[2:])
    return functional.pad(x, (left, right, above, below))


def same_padding(size: int, kernel_size: int, stride: int) -> tuple[int, int]:
    """The numbers of zeros that TensorFlow adds before and behind so many pixels."""
    missing = max((-(-size // stride) - 1) * stride + kernel_size - size, 0)
    return missing // 2, missing - missing // 2


class NormReLU6(nn.BatchNorm2d):
    """Batch normalisation, then values limited to 0..6."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu6(super().forward(x))


class InvertedResidual(nn.Module):
    """1 x 1 convolution to more channels, depthwise convolution, 1 x 1 convolution back; plus the input where it fits.

    Modules have the names of the file of weights.
    """

    def __init__(self, width_in: int, width_out: int, kernel_size: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = width_in * expansion
        self.residual = stride == 1 and width_in == width_out
        if expansion > 1:
            self._expand_conv, self._bn0 = SameConv2d(width_in, inner, 1), NormReLU6(inner)
        self._depthwise_conv = SameConv2d(inner, inner, kernel_size, stride=stride, groups=inner)
        self._bn1 = NormReLU6(inner)
        self._project_conv, self._bn2 = SameConv2d(inner, width_out, 1), nn.BatchNorm2d(width_out, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        out = self._bn0(self._expand_conv(x)) if hasattr(self, "_expand_conv") else x
        out = self._bn1(self._depthwise_conv(out))
        out = cast(Tensor, self._bn2(self._project_conv(out)))
        return x + out if self.residual else out


# a convolution and the normalisation behind it, in a block and in the network
_PAIRS = {
    "_expand_conv": "_bn0",
    "_depthwise_conv": "_bn1",
    "_project_conv": "_bn2",
    "_conv_stem": "_bn0",
    "_conv_head": "_bn1",
}


class EfficientNetLite0(nn.Module):
    """The network, in evaluation mode and without gradients; its modules have the names of the file of weights."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SameConv2d(3, _STEM, 3, stride=2), NormReLU6(_STEM)
        blocks, width = [], _STEM
        self._ends: list[int] = []  # the last block of each stage
        for channels, number, kernel_size, stride, expansion in _STAGES:
            for i in range(number):
                blocks.append(InvertedResidual(width, channels, kernel_size, stride if i == 0 else 1, expansion))
                width = channels
            self._ends.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = SameConv2d(width, _HEAD, 1), NormReLU6(_HEAD)
        self._fc = nn.Linear(_HEAD, _TAPS["logits"])
        self.eval().requires_grad_(False)

    def maps(self, x: Tensor) -> list[Tensor]:
        """The maps behind each of the seven stages.

        Shape: float (N, 3, H, W) -> (N, C, h, w) with 16, 24, 40, 80, 112, 192 and 320 channels.
        """
        x, out = self._bn0(self._conv_stem(x)), []
        for i, block in enumerate(self._blocks):
            x = block(x)
            if i in self._ends:
                out.append(x)
        return out

    def forward(self, x: Tensor, taps: Collection[str] = ("320",)) -> dict[str, Tensor]:
        """Compute the features of the requested taps.

        ``112`` and ``320`` are global means of the fifth and of the last stage, ``1280`` is the mean of the head that
        the classifier takes.

        Shape: float32 (N, 3, 224, 224) in about -1..1 -> (N, width) for each tap.
        """
        maps = self.maps(x.contiguous(memory_format=torch.channels_last))
        out = {"112": _mean(maps[4]), "320": _mean(maps[6])}
        if not set(taps) <= set(out):
            out["1280"] = _mean(self._bn1(self._conv_head(maps[6])))
            out["logits"] = self._fc(out["1280"].to(self._fc.weight.dtype))
        return {tap: out[tap] for tap in taps}

    def pairs(self) -> list[tuple[nn.Module, str, str]]:
        """Every convolution and what is behind it: the module that holds both, and their names in it."""
        names = _PAIRS.items()
        return [(module, *pair) for module in self.modules() for pair in names if hasattr(module, pair[0])]

    def fold_batch_norm(self) -> EfficientNetLite0:
        """Put every normalisation into the convolution before it, in place."""
        for module, convolution, norm in self.pairs():
            behind = getattr(module, norm)
            setattr(module, convolution, fuse_conv_bn_eval(getattr(module, convolution), behind))
            setattr(module, norm, nn.ReLU6() if isinstance(behind, NormReLU6) else nn.Identity())
        return self.eval().requires_grad_(False)


def _mean(x: Tensor) -> Tensor:
    """The global mean, in float32 also of a map in half precision."""
    return functional.adaptive_avg_pool2d(x.float(), 1).flatten(1)


@plain_defaults()
def load_efficientnet(
    state_dict: Mapping[str, Tensor], *, device: torch.device | str = "cpu", fast: bool = True
) -> EfficientNetLite0:
    """The network with the given weights.

    Args:
        state_dict: 247 tensors under the names of the published file; with or without the ``num_batches_tracked``.
        device: where it computes.
        fast: normalisation folded into the convolutions, and channels-last memory.

    Peers:
        Features equal those of timm's ``tf_efficientnet_lite0`` under the same weights to 1e-4.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape, or not finite.
    """
    network = load_state(EfficientNetLite0, state_dict, "EfficientNet-Lite0")
    if fast:
        network = network.fold_batch_norm().to(memory_format=torch.channels_last)
    return network.to(device)
