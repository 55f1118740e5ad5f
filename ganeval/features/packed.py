"""A faster form of FID's Inception-v3: fewer and larger convolutions, on a CPU each of them one call of oneDNN.

The 1 x 1 convolutions at the heads of a block's branches read one map, so they become one convolution. A 1 x 1
convolution behind an average that does not count the padding can run before it (both are linear, and the average of a
constant is that constant), where the map to be averaged is 4 to 10 times thinner. On a CPU weights are laid out in
oneDNN's order once, not at every call, and the rectifier is part of the convolution. Speed then hardly depends on the
batch size.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.inception import BasicConv2d, InceptionD

from ganeval.features.inception import BlockA, BlockC, BlockE, LastBlock, average, largest

_LAYING_OUT = threading.Lock()


def packed(network: nn.Module) -> nn.Module:
    """Replace the blocks of the network, in place; once a CPU has run it, its weights can neither move nor be saved.

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
    """One convolution, or several of one shape on one input, side by side; rectified by default.

    Args:
        most: the largest value that the rectifier lets through; None: any.
    """

    def __init__(self, *parts: nn.Module, rectify: bool = True, most: float | None = None) -> None:
        super().__init__()
        convolutions = [cast(nn.Conv2d, part.conv) for part in parts]
        self.rectify, self.most, first = rectify, most, convolutions[0]
        self.groups = first.groups
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
            out = functional.conv2d(
                x, cast(Tensor, self.weight), self.bias, self.stride, self.padding, groups=self.groups
            )
            return out.clamp_(0, self.most) if self.rectify else out
        if self._laid_out is None:  # only now, because the best order depends on the size of the input
            self._lay_out(list(x.shape))
        form, limits = "relu" if self.rectify else "none", []
        if self.rectify and self.most is not None:
            form, limits = "hardtanh", [0.0, self.most]
        return cast(
            Tensor,
            torch.ops.mkldnn._convolution_pointwise(
                x, self._laid_out, self.bias, self.padding, self.stride, [1, 1], self.groups, form, limits, ""
            ),
        )

    def _lay_out(self, shape: list[int]) -> None:
        with _LAYING_OUT:  # several threads may come at once
            if self._laid_out is None:
                self._laid_out = torch.ops.mkldnn._reorder_convolution_weight(
                    self.weight, self.padding, self.stride, [1, 1], self.groups, shape
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


@dataclass(frozen=True, slots=True)
class _Branch:
    """The head of a branch, a 1 x 1 convolution of the block's input; those behind it in order; those side by side."""

    head: str
    chain: tuple[str, ...] = ()
    fork: tuple[str, ...] = ()


# what a block takes from its map besides the branches: an average behind a convolution, or a maximum
_Pool = Literal["average", "maximum", "convolved maximum"]


class _Block(nn.Module):
    """The branches of a folded block behind one common head."""

    def __init__(self, block: nn.Module, branches: tuple[_Branch, ...], pool: _Pool) -> None:
        super().__init__()
        self.branches, self.pool = branches, pool
        heads = [branch.head for branch in branches] + (["branch_pool"] if pool == "average" else [])
        first = [cast(nn.Module, getattr(block, name)) for name in heads]
        self.widths = [cast(nn.Conv2d, one.conv).out_channels for one in first]
        self.head = Convolution(*first, rectify=False)  # the branch with the average is rectified behind it
        tails = [name for branch in branches for name in branch.chain + branch.fork]
        tails += ["branch_pool"] if pool == "convolved maximum" else []
        self.tails = nn.ModuleDict({name: Convolution(cast(nn.Module, getattr(block, name))) for name in tails})

    def forward(self, x: Tensor) -> Tensor:
        parts, out = torch.split(self.head(x), self.widths, 1), []
        for branch, part in zip(self.branches, parts, strict=False):  # the average has no branch
            part = part.relu()
            for name in branch.chain:
                part = self.tails[name](part)
            out += [self.tails[name](part) for name in branch.fork] or [part]
        if self.pool == "average":
            out.append(average(parts[-1]).relu_())
        elif self.pool == "maximum":
            out.append(functional.max_pool2d(x, 3, stride=2))
        else:  # no convolution can be moved before a maximum
            out.append(self.tails["branch_pool"](largest(x)))
        return torch.cat(out, 1)


def _numbered(name: str, *numbers: int) -> tuple[str, ...]:
    return tuple(f"{name}_{number}" for number in numbers)


_ONE = _Branch("branch1x1")
_A = (_ONE, _Branch("branch5x5_1", ("branch5x5_2",)), _Branch("branch3x3dbl_1", _numbered("branch3x3dbl", 2, 3)))
_C = (
    _ONE,
    _Branch("branch7x7_1", _numbered("branch7x7", 2, 3)),
    _Branch("branch7x7dbl_1", _numbered("branch7x7dbl", 2, 3, 4, 5)),
)
_D = (_Branch("branch3x3_1", ("branch3x3_2",)), _Branch("branch7x7x3_1", _numbered("branch7x7x3", 2, 3, 4)))
_E = (
    _ONE,
    _Branch("branch3x3_1", fork=("branch3x3_2a", "branch3x3_2b")),
    _Branch("branch3x3dbl_1", ("branch3x3dbl_2",), ("branch3x3dbl_3a", "branch3x3dbl_3b")),
)
# in this order: a LastBlock is a BlockE
_REPLACED: Mapping[type[nn.Module], Callable[[nn.Module], nn.Module]] = {
    BasicConv2d: Convolution,
    BlockA: lambda block: _Block(block, _A, "average"),
    BlockC: lambda block: _Block(block, _C, "average"),
    InceptionD: lambda block: _Block(block, _D, "maximum"),
    LastBlock: lambda block: _Block(block, _E, "convolved maximum"),
    BlockE: lambda block: _Block(block, _E, "average"),
}
