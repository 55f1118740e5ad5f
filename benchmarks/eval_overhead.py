"""What does `ganeval eval` cost beyond `ganeval fid`? Every metric's own time, beside the pass that they share.

    python -m benchmarks.eval_overhead [--n 10000] [--threads 2] [--images 64] [--device cpu]

The pass over the images is timed on a few batches of the Inception network alone and scaled to both sides: what is left
out, decoding and resizing, would only make the metrics look cheaper. The metrics are timed at the full number, on
features as the network gives them. What we promise: all that are made of features and logits cost at most 1.15 times
`fid` alone plus the neighbours' time. Permutations do not count.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from statistics import median

import numpy as np

NEIGHBOURS = {"precision", "recall", "density", "coverage"}
WIDTHS = {"features": 2048, "logits": 1008}


def clocked(run: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def one_image(threads: int, images: int, device: str) -> tuple[float, float]:
    """Seconds of an image in the network."""
    import torch

    from benchmarks.turns import synchronise
    from ganeval.arithmetic import exact_float32
    from ganeval.features.inception import FIDInception

    torch.set_num_threads(threads)
    n = 16 if device == "cpu" else 128
    network = FIDInception().eval().fold_batch_norm().to(device)
    batch = torch.rand(n, 3, 299, 299).to(device) * 2 - 1

    def run() -> None:
        network(batch)
        synchronise(torch.device(device))

    with exact_float32(torch.device(device)):
        run()
        turns = [clocked(run) for _ in range(max(2, images // n))]
    wall, processor = (median(turn) / n for turn in zip(*turns, strict=True))
    return wall, processor


def sides(n: int, layer: str) -> list[object]:
    """Two sets of features, as metrics are given them."""
    from benchmarks.neighbours import features
    from ganeval.metrics.types import FeatureSet
    from ganeval.statistics.moments import Moments
    from ganeval.statistics.rows import FeatureRows

    out: list[object] = []
    for seed in (1, 2):
        moments, rows = Moments(WIDTHS[layer]), FeatureRows(WIDTHS[layer])
        array = features(n, WIDTHS[layer], seed) * np.float32(1 + 0.02 * seed)
        rows.append(array)
        if layer == "features":
            for start in range(0, n, 250):
                moments.update(array[start : start + 250])
        gaussian = moments.finish() if layer == "features" else None
        out.append(FeatureSet(n=n, gaussian=gaussian, rows=rows, digest=str(seed)))
    return out


def metrics(n: int, device: str) -> dict[str, tuple[float, float]]:
    """Seconds of every ``measure`` of the registry that needs nothing but features or logits."""
    import torch

    from ganeval.metrics import two_sample
    from ganeval.metrics.registry import METRICS
    from ganeval.metrics.types import MetricInputs
    from ganeval.protocol import get_protocol

    two_sample.PERMUTATIONS = 0
    groups: dict[str, list[str]] = {}
    for metric in METRICS.values():
        if metric.in_eval and not metric.test and metric.layer in WIDTHS:
            groups.setdefault(metric.measure, []).append(metric.name)
    given = {layer: sides(n, layer) for layer in WIDTHS}
    times = {}
    for target, names in groups.items():
        module, _, function = target.partition(":")
        layer = METRICS[names[0]].layer
        real, fake = given[layer]
        inputs = MetricInputs(
            wanted=frozenset(names), protocol=get_protocol("ttur").at(layer), device=torch.device(device),
            real=real, fake=fake,  # type: ignore[arg-type]
        )  # fmt: skip
        measure = getattr(import_module(module), function)
        times[" ".join(names)] = clocked(lambda measure=measure, inputs=inputs: measure(inputs))
        print(f"  {' '.join(names):<36} {times[' '.join(names)][0]:8.1f} s wall", file=sys.stderr, flush=True)
    pooled = np.concatenate([side.rows.to_array() for side in given["features"]])  # type: ignore[attr-defined]
    from ganeval.statistics.neighbours import nearest

    times["(1-NN of ind)"] = clocked(lambda: nearest(pooled, k=1, device=torch.device(device)))
    return times


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000, help="images of each side")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--images", type=int, default=64, help="that the network is timed on")
    parser.add_argument("--device", default="cpu", help="of the network and of large products: cpu, cuda, ...")
    options = parser.parse_args(arguments)
    if os.environ.get("OMP_NUM_THREADS") != str(options.threads):  # the libraries read it when they are loaded
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(options.threads)
        os.execv(sys.executable, sys.orig_argv)
    image = one_image(options.threads, options.images, options.device)
    times = metrics(options.n, options.device)
    ratio = 0.0
    print(f"{options.n} images a side, {options.threads} threads{'wall':>22} {'processor':>11}")
    rows = {"the pass, both sides": tuple(2 * options.n * t for t in image), **times}
    for name, (wall, processor) in rows.items():
        print(f"{name:<44} {wall:9.1f} s {processor:9.1f} s")
    for clock, which in ((0, "wall"), (1, "processor")):
        alone = rows["the pass, both sides"][clock] + times["fid"][clock]
        searches = sum(t[clock] for name, t in times.items() if NEIGHBOURS & set(name.split()) or name[0] == "(")
        all_ = rows["the pass, both sides"][clock] + sum(t[clock] for name, t in times.items() if name[0] != "(")
        ratio = max(ratio, (all_ - searches) / alone)
        print(f"(eval - neighbours) / fid, {which}: {(all_ - searches) / alone:.3f}; promised at most 1.15")
    return ratio


if __name__ == "__main__":
    main()
