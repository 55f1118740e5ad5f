"""What follows the network: moments, eigenvectors, Frechet distance with its error, neighbours, KID."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch

from benchmarks.accelerator.bench import Bench, Found
from benchmarks.neighbours import features


def sets(bench: Bench) -> tuple[np.ndarray, np.ndarray]:
    n, d = bench.pick((10_000, 2048), (300, 64))
    return features(n, d, 1), features(n, d, 2)


def moments(rows: np.ndarray) -> Any:
    from ganeval.statistics.moments import Moments

    found = Moments(rows.shape[1])
    for start in range(0, len(rows), 512):
        found.update(rows[start : start + 512])
    return found.finish()


def sums(bench: Bench) -> Found:
    from ganeval.engine.device_sink import DeviceMoments

    d = bench.pick(2048, 64)
    found, x = DeviceMoments(d, bench.device), torch.from_numpy(features(128, d, 1)).to(bench.device)
    return {"ms a batch of 128": bench.seconds(lambda: found.update(x), 0.2) * 1000}


def eigenvectors(bench: Bench) -> Found:
    from ganeval.statistics.linalg import eigh_in_place
    from ganeval.statistics.linalg_torch import eigh_torch, fast_float64

    matrix = moments(sets(bench)[0]).covariance
    found: Found = {"the device is chosen": fast_float64(bench.device)}
    runs = {name: lambda: eigh_torch(matrix.copy(), bench.device) for name in ("device, first", "device")}
    for name, run in {**runs, "host": lambda: eigh_in_place(matrix.copy())}.items():
        (values, vectors), taken = bench.clock(run)
        residual = float(np.abs(matrix @ vectors - vectors * values).max() / np.abs(values).max())
        found[name] = {"s": taken, "residual": residual}
    return found


def distance(bench: Bench) -> Found:
    from ganeval.metrics.frechet import frechet_inference
    from ganeval.statistics.rows import FeatureRows

    real, fake = sets(bench)
    gaussians, found, results = (moments(real), moments(fake)), {}, {}
    with FeatureRows(real.shape[1]) as a, FeatureRows(real.shape[1]) as b:
        a.append(real), b.append(fake)
        for name, device in (("device, first", bench.device), ("device", bench.device), ("host", None)):
            results[name], taken = bench.clock(
                lambda device=device: frechet_inference(*gaussians, a, b, device=device)
            )  # fmt: skip
            found[name] = {"s": taken, "value": results[name].value, "error": results[name].standard_error}
    there, here = results["device"], results["host"]
    found["relative"] = abs(there.value / here.value - 1)
    if there.standard_error and here.standard_error:
        found["error, relative"] = abs(there.standard_error / here.standard_error - 1)
    return found


def searches(bench: Bench) -> Found:
    """On the device and on the host: the same neighbours and the same values."""
    from ganeval.metrics.precision_recall import with_errors
    from ganeval.metrics.realism import realism
    from ganeval.statistics.neighbours import nearest

    real, fake = sets(bench)
    nearest(real[:100], k=3, device=bench.device)
    (near, taken), memory = bench.peak(lambda: bench.clock(lambda: nearest(real, k=3, device=bench.device)))
    here, on_host = bench.clock(lambda: nearest(real, k=3))
    same = np.array_equal(near.indices, here.indices) and np.array_equal(near.distances, here.distances)
    found: Found = {"nearest": {"s": taken, "host, s": on_host, "GB": memory, "same": bool(same)}}
    (values, errors), taken = bench.clock(lambda: with_errors(real, fake, device=bench.device))
    (other, more), on_host = bench.clock(lambda: with_errors(real, fake))
    same = values.values() == other.values() and errors == more
    found["precision, recall, density, coverage"] = {"s": taken, "host, s": on_host, "same": bool(same)}
    found["realism, s"] = bench.clock(lambda: realism(real, fake, device=bench.device))[1]
    return found


def kid_in_blocks(real: np.ndarray, fake: np.ndarray, device: torch.device) -> float:
    """The unbiased estimate with the cubic kernel, its products in float32, its sums in float64."""
    from ganeval.arithmetic import exact_float32

    def total(a: torch.Tensor, b: torch.Tensor) -> float:
        whole = torch.zeros((), dtype=torch.float64, device=device)
        for i in range(0, len(a), 4096):
            for j in range(0, len(b), 8192):
                kernel = (a[i : i + 4096] @ b[j : j + 8192].T).div_(a.shape[1]).add_(1).pow_(3)
                whole += kernel.sum(dtype=torch.float64)
        if a is b:
            whole -= ((a * a).sum(1).div_(a.shape[1]).add_(1) ** 3).sum(dtype=torch.float64)
        return float(whole)

    with exact_float32(device):
        x, y = (torch.from_numpy(z).to(device) for z in (real, fake))
        m, n = len(x), len(y)
        return total(x, x) / (m * (m - 1)) + total(y, y) / (n * (n - 1)) - 2 * total(x, y) / (m * n)


def kid(bench: Bench) -> Found:
    """As the program computes it, and the plain blocks on the device."""
    from ganeval.metrics.kernel import kernel_distance

    real, fake = sets(bench)
    more = {"device": bench.device} if "device" in inspect.signature(kernel_distance).parameters else {}
    kernel_distance(real[:100], fake[:100], **more)
    found, taken = bench.clock(lambda: kernel_distance(real, fake, **more))
    host, on_host = (found, taken) if not more else bench.clock(lambda: kernel_distance(real, fake))
    kid_in_blocks(real[:100], fake[:100], bench.device)
    plain, blocks = bench.clock(lambda: kid_in_blocks(real, fake, bench.device))
    return {
        "the program": {"s": taken, "value": found.value}, "host, s": on_host, "plain blocks on the device, s": blocks,
        "relative": abs(found.value / host.value - 1), "plain blocks, relative": abs(plain / host.value - 1),
    }  # fmt: skip


def many(bench: Bench) -> Found:
    """50 000 of each, on the device alone."""
    bench.needs_cuda()
    from ganeval.metrics.precision_recall import with_errors
    from ganeval.statistics.neighbours import nearest

    real = features(50_000, 2048, 3)
    (_, taken), memory = bench.peak(lambda: bench.clock(lambda: nearest(real, k=3, device=bench.device)))
    found: Found = {"nearest": {"s": taken, "GB": memory}}
    if bench.left() > 30:
        fake = features(50_000, 2048, 4)
        (_, taken), memory = bench.peak(lambda: bench.clock(lambda: with_errors(real, fake, device=bench.device)))
        found["precision, recall, density, coverage"] = {"s": taken, "GB": memory}
    return found


CHECKS = {
    "moments": sums, "eigenvectors": eigenvectors, "Frechet distance": distance, "searches": searches, "KID": kid,
    "50 000": many,
}  # fmt: skip
