"""Kernels over all pairs: an accelerator's sums against the host's, in any surroundings and with a full memory."""

from __future__ import annotations

import functools
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from support.sides import metric_inputs

from ganeval.metrics import cmmd, kernel
from ganeval.metrics.kernel import KernelDistance, kernel_distance, polynomial, rbf, rbf_minus_one
from ganeval.statistics import depth, pair_sums, tiles_torch
from ganeval.statistics.neighbours import Reach


def drawn(n: int, seed: int, shift: float = 0.0, d: int = 24) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal((n, d)) + shift).astype(np.float32)


def on(device: str, monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """A device that counts as an accelerator, in small tiles, so that there are several."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    monkeypatch.setattr(tiles_torch, "_ROWS", 64)
    monkeypatch.setattr(tiles_torch, "_SMALLEST", 16)
    monkeypatch.setattr(pair_sums, "accelerates", lambda device: True)
    return torch.device(device)


def require_equal(found: KernelDistance, expected: KernelDistance) -> None:
    for field in fields(KernelDistance):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        scale = float(np.abs(other).max())
        # second-order terms are differences of sums, which the host takes in float32
        tolerance = 1e-4 if field.name.startswith("noise") else 1e-6
        assert one == pytest.approx(other, rel=tolerance, abs=tolerance * scale), field.name


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("name", ["polynomial", "rbf", "float64"])
def test_accelerator_against_the_host(device: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    how = {"polynomial": polynomial, "rbf": rbf, "float64": functools.partial(rbf_minus_one, sigma=3.0)}[name]
    real, fake = drawn(190, 1), drawn(130, 2, shift=0.4)
    if name == "float64":
        real, fake = real.astype(np.float64), fake.astype(np.float64)
    real.flags.writeable = False  # as rows that are kept elsewhere are
    here = kernel_distance(real, fake, kernel=how)
    there = on(device, monkeypatch)
    monkeypatch.setattr(pair_sums, "_within", None)  # the host's, which must not run
    for half in (None, torch.bfloat16):  # the user's autocast is not that of the kernel
        with torch.autocast(device, half, enabled=half is not None):
            require_equal(kernel_distance(real, fake, kernel=how, device=there), here)


@pytest.mark.parametrize("room", [40, 10])
def test_a_full_memory(room: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Tiles get smaller; with no room for the smallest the host computes, and says so."""
    real, fake = drawn(190, 1), drawn(130, 2, shift=0.4)
    here, there, sizes = kernel_distance(real, fake), on("cpu", monkeypatch), []
    monkeypatch.setattr(pair_sums, "BLOCK", 8)

    def full(x: np.ndarray | torch.Tensor, y: np.ndarray | torch.Tensor) -> np.ndarray | torch.Tensor:
        if isinstance(x, torch.Tensor) and len(x) > room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 4 GiB")
        sizes.append((type(x), len(x)))
        return polynomial(x, y)

    require_equal(kernel_distance(real, fake, kernel=full, device=there), here)
    kinds = {kind for kind, size in sizes if size > 8}
    assert kinds == ({torch.Tensor} if room == 40 else set())
    assert max(size for _, size in sizes) == (32 if room == 40 else 8)
    assert ("kernels are computed on the host: CUDA out of memory" in caplog.text) == (room == 10)


def test_metrics_hand_their_device_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """KID, its subsets and CMMD; without the device every number is as before to the last digit."""
    real, fake = drawn(90, 1), drawn(80, 2, shift=0.4)
    seen: list[torch.device | None] = []
    sums = pair_sums.pair_sums
    monkeypatch.setattr(kernel, "pair_sums", lambda *given: seen.append(given[3]) or sums(*given))
    for measure, name in ((kernel.measure, "kid"), (cmmd.measure, "cmmd")):
        inputs = metric_inputs(real, fake, name, **({"kid_subsets": (2, 50)} if name == "kid" else {}))
        alone = measure(inputs)[name]
        with_device = measure(replace(inputs, device=torch.device("cpu", 0)))[name]
        assert with_device.value == alone.value
    assert seen == [None] * 3 + [torch.device("cpu", 0)] * 3 + [None, torch.device("cpu", 0)]


def test_balls_of_ones_own_set_are_counted_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a ball may hold more than the neighbours that are known."""
    points, seen = drawn(60, 1, d=3), []
    count = depth.count_pairs
    monkeypatch.setattr(
        depth,
        "count_pairs",
        lambda *given, device=None, group=None: seen.append(device) or count(*given, device=device),
    )
    reach = Reach(points, 1, device=torch.device("cpu", 0))
    held = depth.held_by_others(reach, np.full(60, 50.0))
    assert seen == [torch.device("cpu", 0)]
    assert held.tolist() == [59] * 60
