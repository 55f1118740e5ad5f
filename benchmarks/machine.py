"""The machine's own limit: a convolution and a matrix product, measured, and what the machine is called."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any

# (batch, channels in, height and width, channels out, kernel): layers of Inception, and two that suit most libraries.
CONVOLUTIONS = (
    (8, 80, 73, 192, (3, 3)), (8, 96, 35, 96, (3, 3)), (8, 192, 17, 192, (1, 7)), (8, 448, 8, 384, (3, 3)),
    (8, 256, 56, 256, (3, 3)), (32, 256, 28, 256, (3, 3)),
)  # fmt: skip
_LARGER = 16  # times as many images fill an accelerator


def about(device: str) -> dict[str, Any]:
    """In words, and of nobody's machine in particular."""
    import numpy
    import scipy
    import torch

    from benchmarks.turns import hardware

    return {
        "hardware": hardware(device).rpartition(",")[0] or hardware(device), "cores": len(os.sched_getaffinity(0)),
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__, "numpy": numpy.__version__,
            "scipy": scipy.__version__,
        },
    }  # fmt: skip


def synchroniser(device: str) -> Callable[[], object]:
    import torch

    from benchmarks.turns import synchronise

    return lambda: synchronise(torch.device(device))


def peaks(device: str, seconds: float = 0.4) -> dict[str, float]:
    """GFLOP/s, a multiply-add counted as two: the fastest convolution of the list, and matrix products."""
    import torch

    from benchmarks.runs import timed

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    synchronise = synchroniser(device)

    def rate(run: Callable[[], object], operations: float) -> float:
        run()
        best, spent = 0.0, 0.0
        while spent < seconds:
            wall = timed(run, synchronise)["wall"]
            best, spent = max(best, operations / wall / 1e9), spent + wall
        return best

    found = {"convolution": 0.0}
    with torch.inference_mode():
        for n, c, side, k, (high, wide) in CONVOLUTIONS:
            n = n if device == "cpu" else _LARGER * n
            net = torch.nn.Conv2d(c, k, (high, wide), padding="same", bias=False)
            net = net.to(device=device, memory_format=torch.channels_last).eval()
            x = torch.randn(n, c, side, side, device=device).to(memory_format=torch.channels_last)
            operations = 2.0 * n * side * side * c * k * high * wide
            found["convolution"] = max(found["convolution"], rate(lambda: net(x), operations))  # noqa: B023
        for name, dtype in (("product, float32", torch.float32), ("product, float64", torch.float64)):
            a = torch.randn(2048, 2048, dtype=dtype, device=device)
            found[name] = rate(lambda: a @ a, 2.0 * 2048**3)  # noqa: B023
    return found
