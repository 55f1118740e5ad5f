"""The machine's ceilings, the bare network beside them, and the network as the program calls it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.accelerator.agreement import batch
from benchmarks.accelerator.bench import Bench, Found, extractor
from benchmarks.inception import operations

TAPS = ("2048",)
SIZES = {"float32": (64, 128, 256, 512), "tf32": (128, 256, 512), "bf16": (128, 256, 512), "fp16": (256,)}


def precisions(bench: Bench) -> tuple[str, ...]:
    return tuple(SIZES) if bench.cuda else ("float32",)


def bare(bench: Bench, precision: str = "float32", *, channels_last: bool = True) -> Any:
    """The folded network, in the arithmetic's own type."""
    from ganeval.arithmetic import HALF
    from ganeval.features.inception import load_inception

    net = load_inception(torch.load(bench.weights, weights_only=True), device=bench.device)
    net = net.to(HALF[precision]) if precision in HALF else net
    return net if channels_last else net.to(memory_format=torch.contiguous_format)


def inputs(bench: Bench, n: int, precision: str = "float32", *, channels_last: bool = True) -> torch.Tensor:
    from ganeval.arithmetic import HALF

    x = torch.rand(n, 3, 299, 299, generator=torch.Generator().manual_seed(0)).mul_(2).sub_(1).to(bench.device)
    x = x.to(HALF[precision]) if precision in HALF else x
    return x.contiguous(memory_format=torch.channels_last) if channels_last else x


def rate(bench: Bench, call: Callable[[], object], n: int, spend: float = 0.45) -> Found:
    taken, memory = bench.peak(lambda: bench.seconds(call, spend))
    return {"images/s": n / taken, "TFLOP/s": n / taken * operations() / 1e3, "GB": memory}


def ceilings(bench: Bench) -> Found:
    from ganeval.arithmetic import strict_float32

    found: Found = {}
    types = {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "float64": torch.float64}
    for name, dtype in types.items() if bench.cuda else [("float32", torch.float32)]:
        size = bench.pick(4096 if dtype in (torch.float64,) or name == "float32" else 8192, 128)
        a, b = (torch.randn(size, size, device=bench.device).to(dtype) for _ in "ab")
        with strict_float32(tf32=name == "tf32"):
            seconds = bench.seconds(lambda a=a, b=b: a @ b, 0.3)
        found[f"product {name}, TFLOP/s"] = 2 * size**3 / seconds / 1e12
    if bench.cuda:
        large = torch.empty(2**30, dtype=torch.uint8, device=bench.device)
        other = torch.empty_like(large)
        found["on the device, GB/s read and written"] = 2**31 / bench.seconds(lambda: other.copy_(large), 0.3) / 1e9
        for name, locked in (("pageable", False), ("page-locked", True)):
            host, there = torch.empty(2**27, dtype=torch.uint8, pin_memory=locked), large[: 2**27]
            seconds = bench.seconds(lambda host=host, there=there: there.copy_(host, non_blocking=True), 0.2)
            found[f"host to device, {name}, GB/s"] = 2**27 / seconds / 1e9
    return found


def bare_network(bench: Bench) -> Found:
    """On images that are resized and on the device already, by precision and batch."""
    from ganeval.arithmetic import inference

    found: Found = {}
    for precision in precisions(bench):
        net = bare(bench, precision)
        for n in bench.pick(SIZES[precision], (2,)):
            x = inputs(bench, n, precision)
            with inference(precision, bench.device):
                found[f"{precision} {n}"] = rate(bench, lambda net=net, x=x: net(x, TAPS), n)
    return found


def program(bench: Bench) -> Found:
    """The extractor as the program calls it, on 8-bit images that are on the device already."""
    found: Found = {}
    for precision in precisions(bench):
        network = extractor(bench, precision=precision)
        for n in bench.pick((128, 256), (2,)):
            side = bench.pick(256, 64)
            given = batch(torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, device=bench.device))
            call = lambda network=network, given=given: network(given)  # noqa: E731
            found[f"{precision} {n}"] = rate(bench, call, n)
    return found


def host(bench: Bench) -> Found:
    """Host time to queue one batch; a batch of a size that was not seen before; the resizes alone."""
    from ganeval.arithmetic import inference
    from ganeval.images.resize import resize

    net, n, found = bare(bench), bench.pick(128, 3), {}
    x = inputs(bench, n)
    with inference("float32", bench.device):
        net(x, TAPS)
        bench.synchronise()
        started = time.perf_counter()
        net(x, TAPS)
        found["ms to queue a batch"] = (time.perf_counter() - started) * 1000
        odd = x[: n * 3 // 5].contiguous(memory_format=torch.channels_last)
        for name in ("first", "second"):
            found[f"{name} batch of {len(odd)}, ms"] = bench.clock(lambda: net(odd, TAPS))[1] * 1000
        for side in bench.pick((64, 256, 1024), (32,)):
            images = torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, device=bench.device)
            for mode in ("tf1-bilinear", "torch-bilinear", "torch-bilinear-antialias"):
                call = lambda images=images, mode=mode: resize(images.float(), 299, mode)  # noqa: E731
                found[f"{mode} of {n} x {side}, ms"] = bench.seconds(call, 0.1) * 1000
    return found


def kernels(bench: Bench) -> Found:
    """The kernels in which a batch spends its time."""
    bench.needs_cuda()
    from torch.profiler import ProfilerActivity, profile

    from ganeval.arithmetic import inference

    found: Found = {}
    for precision in ("float32", "bf16"):
        net, x = bare(bench, precision), inputs(bench, 128, precision)
        with inference(precision, bench.device):
            net(x, TAPS)
            bench.synchronise()
            with profile(activities=[ProfilerActivity.CUDA]) as seen:
                net(x, TAPS)
                bench.synchronise()
        total: Counter[str] = Counter()
        for event in seen.events():
            total[event.name[:110]] += (getattr(event, "device_time", None) or getattr(event, "cuda_time", 0)) / 1000
        found[precision] = {"ms": sum(total.values()), "by kernel, ms": dict(total.most_common(12))}
    return found


CHECKS = {
    "ceilings": ceilings, "bare network": bare_network, "program": program, "host": host, "kernels": kernels,
}  # fmt: skip
