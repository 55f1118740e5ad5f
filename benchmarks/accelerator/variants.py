"""What another layout of the network would bring: compiled, fused, packed, as a graph, NCHW, kernels by timing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.accelerator.bench import Bench, Found, apart, last_words
from benchmarks.accelerator.network import TAPS, bare, inputs, rate

_LEAST = 15.0  # seconds that a variant may take


class Fused(nn.Module):
    """Convolution, bias and rectifier as one call of cuDNN."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.conv = part.conv

    def forward(self, x: Tensor) -> Tensor:
        c = self.conv
        return torch.cudnn_convolution_relu(x, c.weight, c.bias, c.stride, c.padding, c.dilation, c.groups)


def fused(net: nn.Module) -> nn.Module:
    from torchvision.models.inception import BasicConv2d

    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, BasicConv2d):
                setattr(module, name, Fused(child))
    return net


def packed(net: nn.Module, *, fuse: bool) -> nn.Module:
    """The heads of a block as one convolution, as the program has them on the CPU, by cuDNN."""
    from ganeval.features import packed as package

    def forward(self: Any, x: Tensor) -> Tensor:
        if fuse and self.rectify:
            return torch.cudnn_convolution_relu(x, self.weight, self.bias, self.stride, self.padding, (1, 1), 1)
        out = functional.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return out.relu_() if self.rectify else out

    net = package.packed(net)
    for module in net.modules():
        if isinstance(module, package.Convolution):
            module.forward = forward.__get__(module)  # type: ignore[method-assign]
    return net


def graph(net: Any, x: Tensor) -> Callable[[], dict[str, Tensor]]:
    """A CUDA graph of one batch."""
    rows: dict[str, Tensor] = {}
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            net(x, TAPS)
    torch.cuda.current_stream().wait_stream(side)
    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        rows.update(net(x, TAPS))

    def replay() -> dict[str, Tensor]:
        captured.replay()
        return rows

    return replay


def compared(bench: Bench, makers: dict[str, Callable[[Any, Tensor], Callable[[], Any]]], precision: str) -> Found:
    """Rate of each variant, and how far its features are from the plain network's."""
    from ganeval.arithmetic import inference

    n, found = bench.pick(128, 1), {}
    plain, x = bare(bench, precision), inputs(bench, n, precision)
    with inference(precision, bench.device):
        expected = plain(x, TAPS)["2048"].float()
        for name, make in makers.items():
            if bench.left() < _LEAST:
                return found | {f"{precision} {name}": "no time was left"}
            try:
                call = make(copy.deepcopy(plain), x)
                differs = apart(call()["2048"].float(), expected)
                found[f"{precision} {name}"] = {**rate(bench, call, n, 0.4), "apart": differs}
            except Exception as error:
                found[f"{precision} {name}"] = last_words(error)
    return found


def called(net: Any, x: Tensor) -> Callable[[], Any]:
    return lambda: net(x, TAPS)


def compiled(bench: Bench) -> Found:
    """As ``--compile`` does it; in the quick run, the compiler's way without its kernels."""
    from ganeval.features.compiled import Compiled

    def make(net: Any, x: Tensor) -> Callable[[], Any]:
        more = {} if bench.cuda else {"backend": "eager"}
        return called(Compiled(net, bench.device, **more), x)

    found: Found = {}
    for precision in ("float32", "bf16", "tf32") if bench.cuda else ("float32",):
        found |= compared(bench, {"compiled": make}, precision)
    return found


def laid_out(bench: Bench) -> Found:
    bench.needs_cuda()
    makers: dict[str, Callable[[Any, Tensor], Callable[[], Any]]] = {
        "fused": lambda net, x: called(fused(net), x),
        "packed": lambda net, x: called(packed(net, fuse=False), x),
        "packed, fused": lambda net, x: called(packed(net, fuse=True), x),
        "graph": graph,
    }
    found: Found = {}
    for precision in ("float32", "bf16", "tf32"):
        found |= compared(bench, makers, precision)
    return found


def layouts(bench: Bench) -> Found:
    """NCHW against channels last, cuDNN's rules against its timings."""
    from ganeval.arithmetic import inference

    found: Found = {}
    n = bench.pick(128, 1)
    for precision in ("float32", "bf16") if bench.cuda else ("float32",):
        for last in (True, False):
            net = bare(bench, precision, channels_last=last)
            x = inputs(bench, n, precision, channels_last=last)
            for timed in (False, True) if bench.cuda else (False,):
                if bench.left() < _LEAST:
                    return found
                with inference(precision, bench.device):
                    torch.backends.cudnn.benchmark = timed  # put back by ``arithmetic``
                    name = f"{precision} {'NHWC' if last else 'NCHW'}{', kernels by timing' if timed else ''}"
                    found[name] = rate(bench, called(net, x), n, 0.4)
    return found


CHECKS = {"compiled": compiled, "laid out": laid_out, "layouts": layouts}
