"""What do precision, recall, density and coverage cost? Against the bare matrix products, and against prdc.

    python benchmarks/neighbours.py [--n 10000] [--dimension 2048] [--threads 2] [--rounds 3] [--device cpu] [--prdc]
        [--memory]

The bare products are the four that the definition names: reals x reals, fakes x fakes, reals x fakes, fakes x reals,
float32, by the same library in strips. All runs take turns and are compared within a turn, in wall and in processor
time: the medians of the ratios, with their range. What we promise: the values within 1.3 of the bare products, the
standard errors at most 1.6 of the values' own time more, and the values in a third of prdc's time. ``--memory`` is the
peak of a fresh process, rows of both sets included, which holds no n x n matrix: 3 GB at 50 000.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

STRIP = 1024


def features(n: int, d: int, seed: int) -> np.ndarray:
    """Rectified, correlated and skewed, as networks give them: (n, d) float32, made in blocks."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).standard_normal((64, d), dtype=np.float32) / 8
    out = np.empty((n, d), np.float32)
    for start in range(0, n, STRIP):
        block = out[start : start + STRIP]
        random.standard_normal(out=block, dtype=np.float32)
        block *= np.float32(0.5)
        block += random.standard_normal((len(block), 64), dtype=np.float32) @ mixing
        np.maximum(block, 0, out=block)
    return out


def bare(real: np.ndarray, fake: np.ndarray, device: str) -> None:
    if device != "cpu":
        bare_there(real, fake, device)
        return
    buffer = np.empty(STRIP * max(len(real), len(fake)), np.float32)
    for a, b in ((real, real), (fake, fake), (real, fake), (fake, real)):
        for start in range(0, len(a), STRIP):
            rows = a[start : start + STRIP]
            np.matmul(rows, b.T, out=buffer[: len(rows) * len(b)].reshape(len(rows), len(b)))


def bare_there(real: np.ndarray, fake: np.ndarray, device: str) -> None:
    """The same products by torch on an accelerator, in float32, what they read sent there first."""
    import torch

    from ganeval.arithmetic import exact_float32

    with exact_float32(torch.device(device)):
        x, y = (torch.from_numpy(rows).to(device) for rows in (real, fake))
        for a, b in ((x, x), (y, y), (x, y), (y, x)):
            for start in range(0, len(a), STRIP):
                last = a[start : start + STRIP] @ b.T
        last[-1, -1].item()  # here the host waits


def peer(real: np.ndarray, fake: np.ndarray) -> None:
    from prdc import compute_prdc

    with contextlib.redirect_stdout(sys.stderr):
        compute_prdc(real, fake, nearest_k=5)


def timed(run: Callable[[], object]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def peak(n: int, d: int, device: str) -> float:
    """Bytes that a process takes at most, features and standard errors included."""
    here = str(Path(__file__).resolve())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, here, "--n", str(n), "--dimension", str(d), "--device", device, "--only-run"]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(out.stdout.split()[-1])


def only_run(n: int, d: int, device: str) -> None:
    import torch

    from ganeval.metrics.precision_recall import with_errors

    found, errors = with_errors(features(n, d, 1), features(n, d, 2), device=torch.device(device))
    print({name: f"{value:.4f} +- {errors[name]:.4f}" for name, value in found.values().items()})
    print(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000, help="images of each side")
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="that does the products: cpu, cuda, ...")
    parser.add_argument("--prdc", action="store_true", help="also the peer, which holds n x n matrices of float64")
    parser.add_argument("--memory", action="store_true", help="only the peak memory")
    parser.add_argument("-o", "--output", type=Path, help="write times and ratios there, as JSON")
    parser.add_argument("--only-run", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only_run:
        only_run(options.n, options.dimension, options.device)
        return {}
    if options.memory:
        bytes_ = peak(options.n, options.dimension, options.device)
        print(f"{options.n} x {options.n} x {options.dimension}: peak {bytes_ / 1e9:.2f} GB, ", end="")
        print(f"{8 * options.n * options.dimension / 1e9:.2f} GB of it features")
        return {"peak": bytes_}
    if os.environ.get("OMP_NUM_THREADS") != str(options.threads):  # the libraries read it when they are loaded
        os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(options.threads)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    import torch

    from ganeval.metrics.precision_recall import neighbourhoods, with_errors

    device = torch.device(options.device)
    real, fake = features(options.n, options.dimension, 1), features(options.n, options.dimension, 2)
    runs: dict[str, Callable[[], object]] = {
        "bare": lambda: bare(real, fake, options.device),
        "values": lambda: neighbourhoods(real, fake, device=device),
        "with errors": lambda: with_errors(real, fake, device=device),
    }
    if options.prdc:
        runs["prdc"] = lambda: peer(real, fake)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    with_errors(real[:500], fake[:500], device=device)  # imports and first calls
    for _ in range(options.rounds):
        for name, run in runs.items():
            times[name].append(timed(run))
    kernel = os.environ.get("OPENBLAS_CORETYPE", "as detected")
    print(f"{options.n} x {options.n} x {options.dimension}, {options.threads} threads, OPENBLAS_CORETYPE {kernel}")
    for name, each in times.items():
        wall, processor = (median(t) for t in zip(*each, strict=True))
        print(f"{name:<12} {wall:8.2f} s wall, {processor:8.2f} s processor")
    ratios = {
        "values / bare": ("values", "bare", 0.0),
        "errors / values": ("with errors", "values", 1.0),
        "prdc / values": ("prdc", "values", 0.0),
    }
    found, rounds = {}, {}
    for title, (one, other, less) in ratios.items():
        if one not in runs:
            continue
        for clock, which in ((0, "wall"), (1, "processor")):
            each = [a[clock] / b[clock] - less for a, b in zip(times[one], times[other], strict=True)]
            rounds[f"{title}, {which}"] = each
            found[f"{title}, {which}"] = median(each)
            print(f"{title:<16} {which:<9} {median(each):6.2f}  ({min(each):.2f} to {max(each):.2f})")
    if options.output is not None:
        seconds = {name: median(wall for wall, _ in each) for name, each in times.items()}
        fields = {"seconds": seconds, "ratios": rounds, "threads": options.threads, "device": options.device}
        options.output.write_text(json.dumps(fields) + "\n", encoding="utf-8")
    return found


if __name__ == "__main__":
    main()
