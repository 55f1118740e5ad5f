"""What every check of a section is given: the device, the sizes, the time that is left, and how to measure."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Found = dict[str, Any]
Check = Callable[["Bench"], Found]


class NotHere(Exception):
    """The check has no meaning on this device."""


@dataclass(slots=True)
class Bench:
    """Of one section.

    Attributes:
        quick: tiny sizes, to see whether everything runs.
        folder: where images and weights are.
        ends: on the monotonic clock.
    """

    device: Any  # torch.device
    quick: bool
    folder: Path
    ends: float

    @property
    def cuda(self) -> bool:
        return bool(self.device.type == "cuda")

    @property
    def weights(self) -> Path:
        return self.folder / "inception.pth"

    def left(self) -> float:
        return self.ends - time.monotonic()

    def pick(self, full: T, tiny: T) -> T:
        return tiny if self.quick else full

    def needs_cuda(self) -> None:
        if not self.cuda:
            raise NotHere("needs CUDA")

    def synchronise(self) -> None:
        from benchmarks.machine import synchroniser

        synchroniser(self.device.type)()

    def clock(self, run: Callable[[], T]) -> tuple[T, float]:
        """What one call returns, and its seconds."""
        self.synchronise()
        started = time.perf_counter()
        found = run()
        self.synchronise()
        return found, time.perf_counter() - started

    def seconds(self, run: Callable[[], object], spend: float = 0.5) -> float:
        """Seconds of one call among many that follow each other without waiting; a median of three series."""
        for _ in range(self.pick(2, 1)):
            run()
        _, one = self.clock(run)
        if self.quick:
            return one
        calls = max(1, min(200, int(spend / 3 / max(one, 1e-6))))

        def series() -> None:
            for _ in range(calls):
                run()

        return statistics.median(self.clock(series)[1] / calls for _ in range(3))

    def peak(self, run: Callable[[], T]) -> tuple[T, float | None]:
        """What a call returns, and the most GB that it allocated on the device beyond what was there."""
        if not self.cuda:
            return run(), None
        import torch

        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        found = run()
        torch.cuda.synchronize()
        return found, (torch.cuda.max_memory_allocated() - before) / 1e9


def apart(one: Any, other: Any) -> float:
    """The largest difference of two tensors over the largest value of the second."""
    return float((one.double() - other.double()).abs().max() / other.double().abs().max().clamp_min(1e-300))


def last_words(error: BaseException, most: int = 300) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:most]}"


# --- what several sections measure ---------------------------------------------------------------------------------


def extractor(bench: Bench, name: str = "ttur", precision: str = "float32", *, device: Any = None, **more: Any) -> Any:
    """The network of a protocol, as the program loads it."""
    from ganeval.features.extractor import FeatureExtractor
    from ganeval.protocol import get_protocol

    protocol = replace(get_protocol(name), precision=precision)
    weights = None if name == "compact" else bench.weights
    return FeatureExtractor(protocol, device=device or bench.device, weights=weights, **more)


def one_pass(source: Any, extractors: list[Any], *, workers: int, batch_size: int | None, cache: Any = None) -> int:
    """Every image of a source through the networks, moments and rows kept; the number of images."""
    from contextlib import ExitStack, closing

    from ganeval.distributed import ONE
    from ganeval.engine.accumulator import Requirement, SetAccumulator
    from ganeval.engine.config import InputOptions
    from ganeval.engine.loop import accumulate
    from ganeval.engine.runtime import Runtime

    networks = {one.protocol: one for one in extractors}
    required = {(protocol, "features"): Requirement(True, True) for protocol in networks}
    options = InputOptions(workers=workers, batch_size=batch_size)
    with ExitStack() as stack:
        runtime = Runtime(ONE, extractors[0].device, cache, stack)
        accumulator = stack.enter_context(closing(SetAccumulator(networks, required)))
        accumulate(accumulator, "images", source, options, runtime, call="images")
        return int(accumulator.n)


def images_in(bench: Bench, kind: str, most: int | None = None) -> Any:
    """The first ``most`` images of a kind of the material."""
    from ganeval.images.open import open_images

    source = open_images(str(bench.folder / kind))
    return source if most is None or source.length <= most else source.part(range(most))
