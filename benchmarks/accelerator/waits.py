"""Where the host waits for the device in a pass over images, by source line, and what it does for a batch."""

from __future__ import annotations

import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.accelerator.agreement import batch
from benchmarks.accelerator.bench import Bench, Found, extractor, images_in, one_pass

BATCH = 128


class Operations(TorchDispatchMode):
    """Counts what is dispatched in this thread."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


@contextmanager
def watched(cuda: bool) -> Iterator[Counter[str]]:
    """Inside, every wait for the device is counted under the line that asked for it."""
    found: Counter[str] = Counter()
    if not cuda:
        yield found
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
    for one in caught:
        if "synchroniz" in str(one.message) and "prototype" not in str(one.message):
            found[f"{'/'.join(Path(one.filename).parts[-2:])}:{one.lineno}"] += 1


def counted(bench: Bench, network: Any, source: Any, cache: Any = None) -> Found:
    with watched(bench.cuda) as waits, Operations() as operations:
        n = one_pass(source, [network], workers=bench.pick(8, 0), batch_size=bench.pick(BATCH, 4), cache=cache)
    return {
        "images": n, "waits": waits.total() if bench.cuda else None, "where": dict(waits.most_common(6)),
        "operations an image, in the main thread": operations.count / n,
    }  # fmt: skip


def waits(bench: Bench) -> Found:
    from ganeval.features.cache import FeatureCache
    from ganeval.generators.load import open_source

    name, n = bench.pick("ttur", "compact"), bench.pick(10 * BATCH, 8)
    network = extractor(bench, name)
    for _ in range(2):
        network(batch(torch.zeros(min(n, BATCH), 3, 64, 64, dtype=torch.uint8)))
    with tempfile.TemporaryDirectory() as folder:
        sources: dict[str, Callable[[], tuple[Any, Any]]] = {
            "files": lambda: (images_in(bench, "jpg256", n), None),
            "files, into the cache": lambda: (images_in(bench, "jpg256", n), FeatureCache(folder)),
            "mixed sizes": lambda: (images_in(bench, "mixed", n), None),
            "generator": lambda: (open_source("gen:dcgan-cifar10", num_samples=n, device=bench.device), None),
        }
        return {what: counted(bench, network, *opened()) for what, opened in sources.items()}


CHECKS = {"waits": waits}
