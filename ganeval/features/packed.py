"""FID's Inception-v3 as it runs fastest: fewer and larger convolutions, on a CPU each of them one call of oneDNN.

The 1 x 1 convolutions at the heads of a block's branches read one map: they become one. Behind an average that does not
count the padding a 1 x 1 convolution can as well stand before it (both are linear, and the average of a constant is
that constant), where the map to be averaged is 4 to 10 times thinner. On a CPU weights lie in oneDNN's own order, laid
out once instead of at every call; the rectifier is part of the convolution. Speed then hardly depends on the size of
the batch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.inception import BasicConv2d, InceptionD

from ganeval.features.inception import BlockA, BlockC, BlockE, LastBlock, average, largest

_LAYING_OUT = threading.Lock()


def packed(network: nn.Module) -> nn.Module:
    """The network with its blocks replaced, in place; once a CPU has run it, its weights can neither move nor be saved.

    Features differ from those of the folded network by float32 noise, by less than 1e-5 of the largest.

    Args:
        network: a FIDInception with its normalisation folded, see ``FIDInception.fold_batch_norm``.
    """
    for name, block in list(network.named_children()):
        for kind, replacement in _REPLACED.items():
            if isinstance(block, kind):
                setattr(network, name, replacement(block))
                break
        else:
            for inner, child in list(block.named_children()):
                if isinstance(child, BasicConv2d):
                    setattr(block, inner, Convolution(child))
    return network


class Convolution(nn.Module):
    """One convolution, or several of one shape on one input, side by side; rectified unless said otherwise."""

    def __init__(self, *parts: nn.Module, rectify: bool = True) -> None:
        super().__init__()
        convolutions = [cast(nn.Conv2d, part.conv) for part in parts]
        self.rectify, first = rectify, convolutions[0]
        self.stride, self.padding = list(first.stride), list(cast(tuple[int, int], first.padding))
        weights = [one.weight.detach() for one in convolutions]
        weight = torch.cat(weights) if len(weights) > 1 else weights[0]
        weight, bias = weight.contiguous(memory_format=torch.channels_last), [one.bias for one in convolutions]
        self.weight: nn.Parameter | None = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(torch.cat([cast(Tensor, one).detach() for one in bias]), requires_grad=False)
        # in place of the weight: what oneDNN has laid out is no tensor that a module could move or save
        self._laid_out: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if not _fused(x):
            out = functional.conv2d(x, cast(Tensor, self.weight), self.bias, self.stride, self.padding)
            return out.relu_() if self.rectify else out
        if self._laid_out is None:  # only now, because the best order depends on the size of the input
            self._lay_out(list(x.shape))
        form = "relu" if self.rectify else "none"
        return cast(
            Tensor,
            torch.ops.mkldnn._convolution_pointwise(
                x, self._laid_out, self.bias, self.padding, self.stride, [1, 1], 1, form, [], ""
            ),
        )

    def _lay_out(self, shape: list[int]) -> None:
        with _LAYING_OUT:  # several threads may come at once
            if self._laid_out is None:
                self._laid_out = torch.ops.mkldnn._reorder_convolution_weight(
                    self.weight, self.padding, self.stride, [1, 1], 1, shape
                )
                self.weight = None


def _fused(x: Tensor) -> bool:
    """Whether oneDNN convolves and rectifies this input in one call."""
    if x.device.type != "cpu" or not has_onednn():
        return False
    return x.dtype != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def has_onednn() -> bool:
    """Whether this PyTorch has oneDNN's convolutions with their rectifier, as its own compiler uses them."""
    return bool(torch.backends.mkldnn.is_available()) and all(  # type: ignore[no-untyped-call]
        hasattr(torch.ops.mkldnn, name) for name in ("_convolution_pointwise", "_reorder_convolution_weight")
    )


class _Block(nn.Module):
    """The branches of a block behind their common head.

    Args:
        block: a folded block.
        heads: of its branches, 1 x 1 convolutions of the block's input.
        tails: the convolutions behind them.
    """

    def __init__(self, block: nn.Module, heads: tuple[str, ...], tails: tuple[str, ...]) -> None:
        super().__init__()
        first = [cast(nn.Module, getattr(block, name)) for name in heads]
        self.widths = [cast(nn.Conv2d, one.conv).out_channels for one in first]
        self.head = Convolution(*first, rectify=False)  # the branch with the average is rectified behind it
        self.tails = nn.ModuleDict({name: Convolution(cast(nn.Module, getattr(block, name))) for name in tails})

    def split(self, x: Tensor) -> list[Tensor]:
        """What the head makes for each branch, not rectified yet."""
        return list(torch.split(self.head(x), self.widths, 1))


class _A(_Block):
    def __init__(self, block: nn.Module) -> None:
        heads = ("branch1x1", "branch5x5_1", "branch3x3dbl_1", "branch_pool")
        super().__init__(block, heads, ("branch5x5_2", "branch3x3dbl_2", "branch3x3dbl_3"))

    def forward(self, x: Tensor) -> Tensor:
        one, five, double, pool = self.split(x)
        tail = self.tails
        double = tail["branch3x3dbl_3"](tail["branch3x3dbl_2"](double.relu()))
        return torch.cat([one.relu(), tail["branch5x5_2"](five.relu()), double, average(pool).relu_()], 1)


class _C(_Block):
    def __init__(self, block: nn.Module) -> None:
        tails = [f"branch7x7_{i}" for i in (2, 3)] + [f"branch7x7dbl_{i}" for i in (2, 3, 4, 5)]
        super().__init__(block, ("branch1x1", "branch7x7_1", "branch7x7dbl_1", "branch_pool"), tuple(tails))

    def forward(self, x: Tensor) -> Tensor:
        one, seven, double, pool = self.split(x)
        tail = self.tails
        seven = tail["branch7x7_3"](tail["branch7x7_2"](seven.relu()))
        double = tail["branch7x7dbl_3"](tail["branch7x7dbl_2"](double.relu()))
        double = tail["branch7x7dbl_5"](tail["branch7x7dbl_4"](double))
        return torch.cat([one.relu(), seven, double, average(pool).relu_()], 1)


class _D(_Block):
    def __init__(self, block: nn.Module) -> None:
        tails = ("branch3x3_2", "branch7x7x3_2", "branch7x7x3_3", "branch7x7x3_4")
        super().__init__(block, ("branch3x3_1", "branch7x7x3_1"), tails)

    def forward(self, x: Tensor) -> Tensor:
        three, seven = self.split(x)
        tail = self.tails
        seven = tail["branch7x7x3_4"](tail["branch7x7x3_3"](tail["branch7x7x3_2"](seven.relu())))
        return torch.cat([tail["branch3x3_2"](three.relu()), seven, functional.max_pool2d(x, 3, stride=2)], 1)


class _E(_Block):
    """The last block takes a maximum, before which no convolution can be moved: that branch stays behind it."""

    def __init__(self, block: nn.Module) -> None:
        heads = ("branch1x1", "branch3x3_1", "branch3x3dbl_1")
        tails = ("branch3x3_2a", "branch3x3_2b", "branch3x3dbl_2", "branch3x3dbl_3a", "branch3x3dbl_3b")
        if isinstance(block, LastBlock):
            super().__init__(block, heads, (*tails, "branch_pool"))
        else:
            super().__init__(block, (*heads, "branch_pool"), tails)

    def forward(self, x: Tensor) -> Tensor:
        one, three, double, *pool = self.split(x)
        tail = self.tails
        three, double = three.relu(), tail["branch3x3dbl_2"](double.relu())
        return torch.cat(
            [
                one.relu(),
                tail["branch3x3_2a"](three),
                tail["branch3x3_2b"](three),
                tail["branch3x3dbl_3a"](double),
                tail["branch3x3dbl_3b"](double),
                average(pool[0]).relu_() if pool else tail["branch_pool"](largest(x)),
            ],
            1,
        )


_REPLACED: Mapping[type[nn.Module], Callable[[nn.Module], nn.Module]] = MappingProxyType(
    {BasicConv2d: Convolution, BlockA: _A, BlockC: _C, InceptionD: _D, BlockE: _E}
)
