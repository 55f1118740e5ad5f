"""What a surrounding program may have set, and what must be as it was afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.accelerator.agreement import batch, noise
from benchmarks.accelerator.bench import Bench, Found, extractor, images_in, last_words


def tried(call: Callable[[], object]) -> object:
    try:
        return call()
    except Exception as error:
        return last_words(error)


@contextmanager
def cpu_as_accelerator() -> Iterator[None]:
    """Searches take the way of an accelerator on the CPU too, so that the quick run goes through the same code."""
    from ganeval.statistics import depth, neighbours, searches

    with ExitStack() as stack:
        for module in (searches, neighbours, depth):
            stack.enter_context(mock.patch.object(module, "accelerates", return_value=True))
        yield


def autocast(bench: Bench) -> Found:
    """Searches and shipped generators inside the user's autocast: the same numbers?"""
    from ganeval.generators.load import open_source
    from ganeval.metrics.precision_recall import neighbourhoods
    from ganeval.statistics.neighbours import nearest

    rng, n = np.random.default_rng(0), bench.pick(1200, 200)
    mix = rng.standard_normal((32, 256), dtype=np.float32)
    real, fake = (np.maximum(rng.standard_normal((n, 32), dtype=np.float32) @ mix + by, 0) for by in (0, 0.3))
    values, near = neighbourhoods(real, fake).values(), nearest(real, k=3).indices

    def made() -> torch.Tensor:
        source = open_source("gen:dcgan-cifar10", num_samples=4, device=bench.device)
        return torch.cat([torch.as_tensor(part.images) for part in source.batches(4)]).cpu()

    plain, found = made(), {}
    for dtype in (None, torch.float16, torch.bfloat16):
        around = nullcontext() if dtype is None else torch.autocast(bench.device.type, dtype)
        with cpu_as_accelerator(), around:
            found[f"autocast({dtype})"] = {
                "same precision and recall": tried(
                    lambda: neighbourhoods(real, fake, device=bench.device).values() == values
                ),
                "wrong neighbours": tried(lambda: int((nearest(real, k=3, device=bench.device).indices != near).sum())),
                "same images of a generator": tried(lambda: torch.equal(made(), plain)),
            }
    return found


def default_device(bench: Bench) -> Found:
    """Inside ``with torch.device(...)``: files, a generator, an evaluation."""
    from ganeval.api import evaluate

    part = images_in(bench, "png32", bench.pick(64, 4))

    def distance(fake: object) -> float:
        with torch.device(bench.device):
            found = evaluate(
                part, fake, protocol="compact", device=str(bench.device), cache=False, workers=bench.pick(2, 0),
                num_samples=bench.pick(64, 4),
            )  # fmt: skip
        return float(found["fid"].value)

    return {"files": tried(lambda: distance(part)), "a generator": tried(lambda: distance("gen:dcgan-cifar10"))}


def precision_names(bench: Bench) -> Found:
    """``fp32_precision``, where this torch has it: neither an error nor another arithmetic."""
    conv = getattr(torch.backends.cudnn, "conv", None)
    if not hasattr(conv, "fp32_precision"):
        return {"names": "this torch has the older ones alone"}
    from ganeval.generators.load import open_source

    def images(precision: str) -> int:
        before, conv.fp32_precision = conv.fp32_precision, precision
        try:
            (one,) = open_source("gen:dcgan-cifar10", num_samples=4, device=bench.device).batches(4)
            return len(one.names)
        finally:
            conv.fp32_precision = before

    return {f"cudnn.conv.fp32_precision = {name}": tried(lambda name=name: images(name)) for name in ("ieee", "tf32")}


def deterministic(bench: Bench) -> Found:
    """Features while the program refuses nondeterministic operations or lets cuDNN time its kernels."""
    network, pictures = extractor(bench, "compact"), batch(noise(bench.pick(16, 2), 48, 48, 5))
    (tap,) = network.taps
    plain = network(pictures)[tap].cpu()

    def same() -> bool:
        return torch.equal(network(pictures)[tap].cpu(), plain)

    def strict() -> object:
        torch.use_deterministic_algorithms(True)
        try:
            return tried(same), torch.are_deterministic_algorithms_enabled()
        finally:
            torch.use_deterministic_algorithms(False)

    cudnn = torch.backends.cudnn
    before, cudnn.benchmark = cudnn.benchmark, True
    try:
        timed = tried(same), cudnn.benchmark
    finally:
        cudnn.benchmark = before
    return {"use_deterministic_algorithms: same bits, kept": strict(), "cudnn.benchmark: same bits, kept": timed}


def random_states(bench: Bench) -> Found:
    from ganeval.api import evaluate

    def states() -> list[torch.Tensor]:
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if bench.cuda else [])]

    if bench.cuda:
        torch.rand(1, device=bench.device)
    before = states()
    evaluate(
        "dataset:shapes:32", "gen:dcgan-cifar10", num_samples=bench.pick(64, 4), protocol="compact",
        device=str(bench.device), cache=False,
    )  # fmt: skip
    return {"kept": all(map(torch.equal, before, states()))}


def one_file(bench: Bench) -> Found:
    """A user's data set that holds one file open, as readers of HDF5 and tar do: no wrong image by default."""
    from ganeval.images.open import open_images

    n, side = bench.pick(4000, 60), 16
    data = np.stack([np.full((side, side, 3), i % 251, np.uint8) for i in range(n)])
    path = bench.folder / f"one-file-{os.getpid()}"
    path.write_bytes(data.tobytes())

    class OneFile(torch.utils.data.Dataset[torch.Tensor]):
        def __init__(self) -> None:
            self.file = path.open("rb", buffering=0)

        def __len__(self) -> int:
            return n

        def __getitem__(self, i: int) -> torch.Tensor:
            self.file.seek(i * side * side * 3)
            raw = bytearray(self.file.read(side * side * 3))
            return torch.frombuffer(raw, dtype=torch.uint8).reshape(side, side, 3).permute(2, 0, 1).clone()

    def wrong(source: Any, workers: int) -> int:
        drawn = torch.cat([torch.as_tensor(part.images) for part in source.batches(50, workers=workers)])
        return int((drawn.permute(0, 2, 3, 1).numpy() != data).any(axis=(1, 2, 3)).sum())

    source = open_images(OneFile())
    try:
        return {"images": n, "workers are its default": source.reopens, "wrong": tried(lambda: wrong(source, 0))}
    finally:
        path.unlink()


CHECKS = {
    "autocast": autocast, "default device": default_device, "names of precision": precision_names,
    "deterministic and timed kernels": deterministic, "random states": random_states,
    "a data set with one open file": one_file,
}  # fmt: skip
