"""Images a second from files and generators, against the decoders alone and the bare network."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.accelerator.agreement import batch
from benchmarks.accelerator.bench import Bench, Found, extractor, images_in, one_pass
from benchmarks.accelerator.material import KINDS
from benchmarks.runs import child, python

_LEAST = 12.0  # seconds below which a further pass is not started
GENERATOR = "gen:dcgan-cifar10"


def workers(bench: Bench) -> int:
    """As many as the program takes on an accelerator."""
    return bench.pick(max(1, min(32, len(os.sched_getaffinity(0)) - 1)), 0)


def warm(bench: Bench, name: str = "ttur", precision: str = "float32", kind: str = "png32") -> Any:
    """A network that has seen a batch of the kind."""
    made = extractor(bench, name, precision)
    one_pass(images_in(bench, kind, bench.pick(2 * made.batch_size, 2)), [made], workers=0, batch_size=None)
    return made


def passed(bench: Bench, source: Any, *networks: Any, cache: Any = None) -> Found:
    """One pass, the networks warm."""
    n, taken = bench.clock(
        lambda: one_pass(
            source, list(networks), workers=workers(bench), batch_size=bench.pick(None, 4), cache=cache
        )
    )  # fmt: skip
    return {"images": n, "images/s": n / taken}


def decode_one(path: str) -> int:
    from ganeval.images.decode import decode

    return int(decode(Path(path).read_bytes()).array.shape[0])


def decoders(bench: Bench) -> Found:
    """Files to arrays by processes that do nothing else, and by the program's loader with nothing behind it."""
    found: Found = {"workers": workers(bench)}
    count = max(1, workers(bench))
    with get_context("fork").Pool(count) as pool:
        for kind in KINDS:
            paths = sorted(str(path) for path in (bench.folder / kind).iterdir())
            pool.map(decode_one, paths[: 2 * count])
            size = max(1, min(32, len(paths) // count))
            _, taken = bench.clock(lambda paths=paths, size=size: pool.map(decode_one, paths, chunksize=size))
            found[f"{kind} alone"] = {"images/s": len(paths) / taken}
    for kind in bench.pick(tuple(KINDS), ("mixed",)):
        started, n, first = time.perf_counter(), 0, 0.0
        for drawn in images_in(bench, kind).batches(bench.pick(128, 4), workers=workers(bench)):
            n += len(drawn.names)
            first = first or time.perf_counter() - started
        rate = n / (time.perf_counter() - started)
        found[f"{kind}, the loader"] = {"images/s": rate, "s to the first batch": first}
    return found


def generator(bench: Bench) -> Found:
    """The shipped generator with nothing behind it."""
    from ganeval.generators.load import open_source

    n = bench.pick(5000, 8)
    source = open_source(GENERATOR, num_samples=n, device=bench.device)
    for _ in source.batches(bench.pick(128, 4)):
        pass
    _, taken = bench.clock(lambda: [one.names for one in source.batches(bench.pick(128, 4))])
    return {"alone": {"images/s": n / taken}}


def files(bench: Bench) -> Found:
    found: Found = {}
    plan = [("float32", tuple(KINDS)), ("bf16", ("png32", "jpg256")), ("tf32", ("png32", "jpg256"))]
    for precision, kinds in plan if bench.cuda else plan[:1]:
        network = warm(bench, bench.pick("ttur", "compact"), precision)
        for kind in kinds:
            if bench.left() < _LEAST:
                return found
            found[f"{kind} {precision}"] = passed(bench, images_in(bench, kind, bench.pick(5000, 4)), network)
    return found


def generators(bench: Bench) -> Found:
    from ganeval.generators.load import open_source

    found: Found = {}
    for name, precision, n in (("ttur", "float32", 5000), ("ttur", "bf16", 10_000), ("clean", "float32", 2000)):
        if bench.left() < _LEAST or (bench.quick and precision != "float32"):
            continue
        network = warm(bench, bench.pick(name, "compact"), precision)
        source = open_source(GENERATOR, num_samples=bench.pick(n, 8), device=bench.device)
        found[f"{name} {precision}"] = passed(bench, source, network)
    return found


def others(bench: Bench) -> Found:
    """Pillow's resize in front of the network, two networks at once, and the cache, cold and warm."""
    from ganeval.features.cache import FeatureCache

    found: Found = {}
    network = warm(bench, bench.pick("ttur", "compact"))
    n = bench.pick(1500, 4)
    runs: dict[str, Callable[[], Found]] = {
        "clean, png256": lambda: passed(bench, images_in(bench, "png256", n), warm(bench, "clean")),
        "ttur and clean, jpg256": lambda: passed(
            bench, images_in(bench, "jpg256", n), network, warm(bench, bench.pick("clean", "ttur"))
        ),
    }  # fmt: skip
    for what, run in runs.items():
        if bench.left() > _LEAST:
            found[what] = run()
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
        for state in ("cold", "warm"):
            source = images_in(bench, "png256", bench.pick(None, 4))
            found[f"the cache, {state}, png256"] = passed(bench, source, network, cache=FeatureCache(folder))
    return found


def updates(bench: Bench) -> Found:
    """A training loop: Evaluator.update with batches of 64 that are on the host or on the device."""
    from ganeval.evaluator import Evaluator

    found: Found = {}
    shape = (bench.pick(64, 4), 3, 64, 64)
    images = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for keep in (False, True):
        with Evaluator(
            images, protocol=bench.pick("ttur", "compact"), weights=bench.pick(bench.weights, None),
            device=str(bench.device), keep_on_device=keep, cache=False,
        ) as one:  # fmt: skip
            for place, given in (("host", images), ("device", images.to(bench.device))):
                one.update(given)
                name = f"{place}, keep_on_device={keep}: ms an update of {len(images)}"
                found[name] = bench.seconds(lambda one=one, given=given: one.update(given), 0.5) * 1000
    return found


def command(bench: Bench) -> Found:
    """``ganeval fid`` of two folders, start to number, with and without the cache."""
    found: Found = {}
    for name, kept in (("default", "1"), ("without the cache", "0")):
        if bench.quick and kept == "0":
            continue
        with tempfile.TemporaryDirectory(dir=bench.folder) as folder:
            figures, written = child(
                python(
                    "ganeval", "fid", str(bench.folder / "jpg256"), str(bench.folder / "png256"), "--device",
                    str(bench.device), "--json", "-q",
                    *bench.pick(("--weights", str(bench.weights)), ("--protocol", "compact")),
                ),
                GANEVAL_CACHE_DIR=folder, GANEVAL_CACHE=kept,
            )  # fmt: skip
        document = json.loads(written)
        n = document["real"]["n"] + document["fake"]["n"]
        found[name] = {"images": n, "s": figures["wall"], "images/s, start included": n / figures["wall"]}
    return found


def first_batch(bench: Bench) -> Found:
    """A network's first batch: kernels are loaded and planned."""
    network, n = extractor(bench, bench.pick("ttur", "compact")), bench.pick(128, 2)
    return {"s": bench.clock(lambda: network(batch(torch.zeros(n, 3, 64, 64, dtype=torch.uint8))))[1]}


CHECKS = {
    "first batch": first_batch, "decoders": decoders, "generator": generator, "files": files,
    "generators": generators, "others": others, "updates": updates, "command": command,
}  # fmt: skip
