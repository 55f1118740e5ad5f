"""The Inception-v3 of FID: the network of TensorFlow's 2015-12-05 graph, in torchvision's blocks.

It differs from torchvision's ``inception_v3`` in five points: 1008 classes; no auxiliary head; the averages inside the
blocks do not count the padding; the last block takes a maximum where the others average (a quirk of that graph, which
every FID has inherited); and the input is scaled to about -1..1 without ImageNet's mean and deviation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.models.inception import BasicConv2d, InceptionA, InceptionB, InceptionC, InceptionD, InceptionE

from ganeval.arithmetic import plain_defaults
from ganeval.errors import InputError
from ganeval.features.load_state import load_state
from ganeval.features.registry import NETWORKS

TAPS = NETWORKS["inception-2015-12-05"].widths
NUM_CLASSES = TAPS["logits"]
_SFID_CHANNELS = 7
# what leads to each tap behind the one before it
_STAGES = {
    "64": ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "maximum"),
    "192": ("Conv2d_3b_1x1", "Conv2d_4a_3x3", "maximum"),
    "sfid": ("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d"),
    "768": ("Mixed_6e",),
    "2048": ("Mixed_7a", "Mixed_7b", "Mixed_7c"),
}


class FIDInception(nn.Module):
    """The network, in evaluation mode and without gradients.

    Its constructor loads no weights; ``load_inception`` does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, kernel_size=3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, kernel_size=3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, kernel_size=3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, kernel_size=3)
        self.Mixed_5b = BlockA(192, pool_features=32)
        self.Mixed_5c = BlockA(256, pool_features=64)
        self.Mixed_5d = BlockA(288, pool_features=64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = BlockC(768, channels_7x7=128)
        self.Mixed_6c = BlockC(768, channels_7x7=160)
        self.Mixed_6d = BlockC(768, channels_7x7=160)
        self.Mixed_6e = BlockC(768, channels_7x7=192)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = BlockE(1280)
        self.Mixed_7c = LastBlock(2048)
        self.fc = nn.Linear(2048, NUM_CLASSES)
        self.eval().requires_grad_(False)

    def forward(self, x: Tensor, taps: Collection[str] = ("2048",)) -> dict[str, Tensor]:
        """Compute the features of the requested taps, and no layer behind the deepest of them.

        ``64``, ``192``, ``768`` and ``2048`` are global means of maps (after the first and the second maximum, after
        Mixed_6e, after Mixed_7c). ``logits_unbiased`` is what the Inception Score is taken of in every peer;
        ``logits`` adds the bias. ``sfid`` is the first seven channels of Mixed_6d's 1 x 1 branch, flattened in the
        order height, width, channel, as ADM's evaluator has it.

        Shape: float32 (N, 3, 299, 299) in about -1..1 -> (N, width) for each tap, with the widths of ``TAPS``.
        """
        if unknown := set(taps) - set(TAPS):
            raise InputError(f"Inception has no tap {', '.join(sorted(unknown))}. Available: {', '.join(TAPS)}.")
        wanted: set[str] = set(taps)
        out: dict[str, Tensor] = {}
        for tap, layers in _STAGES.items():
            for name in layers:
                x = functional.max_pool2d(x, 3, stride=2) if name == "maximum" else getattr(self, name)(x)
            if tap in wanted:
                # Mixed_6d's output begins with that branch: the peer's tap without computing the branch twice.
                sfid = tap == "sfid"
                out[tap] = x[:, :_SFID_CHANNELS].permute(0, 2, 3, 1).flatten(1) if sfid else _mean(x)
            if len(out) == len(wanted):
                return out
        unbiased = (out["2048"] if "2048" in out else _mean(x)) @ self.fc.weight.T
        logits = {"logits_unbiased": unbiased, "logits": unbiased + self.fc.bias}
        return out | {tap: rows for tap, rows in logits.items() if tap in wanted}

    def fold_batch_norm(self) -> FIDInception:
        """Put every normalisation into the convolution before it, in place."""
        for module in self.modules():
            if isinstance(module, BasicConv2d) and not isinstance(module.bn, nn.Identity):
                conv, bn = module.conv, module.bn
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
                )
                module.bn = nn.Identity()
        return self.eval().requires_grad_(False)


@plain_defaults()
def load_inception(
    state_dict: Mapping[str, Tensor], *, device: torch.device | str = "cpu", fast: bool = True
) -> FIDInception:
    """The network with the given weights.

    Args:
        state_dict: 472 tensors under torchvision's names, as the published file has them; with or without the 94
            ``num_batches_tracked``, which inference does not use. The network may share their memory.
        device: where it computes.
        fast: normalisation folded into the convolutions, and channels-last memory. Features then differ by float32
            noise, by less than 1e-5 of the largest feature.

    Peers:
        Features equal pytorch-fid's, torch-fidelity's and torchmetrics' to 1e-5 of the largest feature on the CPU.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape, or not finite.
    """
    net = load_state(
        FIDInception,
        state_dict,
        "FID's Inception-v3",
        "Torchvision's own inception_v3 is another network; `ganeval weights fetch inception` gets the right file.",
    )
    if fast:
        net.fold_batch_norm()
        net.to(memory_format=torch.channels_last)
    return net.to(device)


def _mean(x: Tensor) -> Tensor:
    """The global mean, in float32 also of a map in half precision, where it would round every feature again."""
    return functional.adaptive_avg_pool2d(x.float(), 1).flatten(1)


def average(x: Tensor) -> Tensor:
    """TensorFlow's average: at the border it divides by the number of pixels inside the map."""
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def largest(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, stride=1, padding=1)


class BlockA(InceptionA):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        five = self.branch5x5_2(self.branch5x5_1(x))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(average(x))], 1)


class BlockC(InceptionC):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(average(x))], 1)


class BlockE(InceptionE):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat(
            [
                self.branch1x1(x),
                self.branch3x3_2a(three),
                self.branch3x3_2b(three),
                self.branch3x3dbl_3a(double),
                self.branch3x3dbl_3b(double),
                self.branch_pool(self.pool(x)),
            ],
            1,
        )

    def pool(self, x: Tensor) -> Tensor:
        return average(x)


class LastBlock(BlockE):
    def pool(self, x: Tensor) -> Tensor:
        return largest(x)
