"""Memory of the device between calls, and what happens where the card is full."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.accelerator.agreement import batch
from benchmarks.accelerator.bench import Bench, Found, extractor, last_words

_ROOM = 4e8  # bytes that a full card leaves


def between_calls(bench: Bench) -> Found:
    """MB that are allocated, and that are reserved, around the calls of an Evaluator."""
    from ganeval.evaluator import Evaluator

    def now() -> list[float]:
        if not bench.cuda:
            return [0.0, 0.0]
        if hasattr(torch._C, "_cuda_clearCublasWorkspaces"):
            torch._C._cuda_clearCublasWorkspaces()
        return [torch.cuda.memory_allocated() / 1e6, torch.cuda.memory_reserved() / 1e6]

    shape = (bench.pick(600, 8), 64, 64, 3)
    real = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    name = bench.pick("ttur", "compact")
    weights = {} if name == "compact" else {"weights": bench.weights}
    found: Found = {"before": now()}
    with Evaluator(real, metrics=("fid",), protocol=name, device=str(bench.device), cache=False, **weights) as one:
        found["after the reference"] = now()
        _, found["peak of an update, GB"] = bench.peak(lambda: one.update(real[: bench.pick(256, 4)]))
        found["after an update"] = now()
        one.compute()
        found["after compute"] = now()
    found["after the end"] = now()
    found["MB left over after an update"] = found["after an update"][0] - found["before"][0]
    return found


def full_card(bench: Bench) -> Found:
    """A large batch and a search with little room: both go through, with fewer at once or on the host."""
    bench.needs_cuda()
    from ganeval.statistics.neighbours import nearest

    total = torch.cuda.get_device_properties(bench.device).total_memory
    network, n = extractor(bench), bench.pick(128, 2)
    points = np.random.default_rng(0).standard_normal((bench.pick(20_000, 300), 512), dtype=np.float32)
    large = batch(torch.zeros(n, 3, 1024, 1024, dtype=torch.uint8))
    calls: dict[str, Callable[[], object]] = {
        "network": lambda: network(large), "search": lambda: nearest(points, k=3, device=bench.device),
    }  # fmt: skip
    found: Found = {}
    for name, call in calls.items():
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_reserved() + _ROOM) / total))
        try:
            call()
            found[name] = "went through"
        except Exception as error:
            found[name] = last_words(error)
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
            torch.cuda.empty_cache()
    return found | {"warnings of the network": network.warnings}


CHECKS = {"between calls": between_calls, "full card": full_card}
