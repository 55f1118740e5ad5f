"""Moments and rows of features on an accelerator. The code asks nothing of the device, so most of it is held here."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.waits import never_waiting

from ganeval.api import build_statistics, evaluate
from ganeval.distributed import ONE
from ganeval.engine import loop
from ganeval.engine.accumulator import LayerAccumulator
from ganeval.engine.config import InputOptions
from ganeval.engine.device_sink import DeviceMoments, DeviceSink
from ganeval.engine.loop import run
from ganeval.engine.runtime import Runtime
from ganeval.errors import InputError
from ganeval.features.extractor import FeatureExtractor
from ganeval.images.open import open_images
from ganeval.metrics import frechet
from ganeval.protocol import get_protocol
from ganeval.statistics import linalg, linalg_torch
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows

CPU = torch.device("cpu")


def rows(n: int, d: int = 24, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(n, d)) @ generator.normal(size=(d, d)) + 50).astype(np.float32)


def assert_same(one: Moments, other: Moments) -> None:
    a, b = one.finish(), other.finish()
    assert a.n == b.n
    assert np.abs(a.mean - b.mean).max() <= 1e-12 * np.abs(b.mean).max()
    assert np.abs(a.covariance - b.covariance).max() <= 1e-12 * np.abs(b.covariance).max()


@pytest.mark.parametrize("batch", [1, 7, 64, 1000])
@pytest.mark.parametrize("shift", [False, True])
def test_sums_on_a_device_against_those_on_the_host(batch: int, shift: bool) -> None:
    x, host = rows(200), Moments(24)
    host.update(x)
    device = DeviceMoments(24, CPU, torch.full((24,), 48.0) if shift else None)
    for start in range(0, len(x), batch):
        device.update(torch.from_numpy(x[start : start + batch]))
    device.update(torch.empty(0, 24))
    assert device.n == 200
    assert_same(device.to_host(), host)
    assert DeviceMoments(24, CPU).to_host().n == 0


def test_a_sink_adds_to_what_was_there() -> None:
    """A second pass, of an Evaluator, goes on from the first; rows keep their order."""
    x, expected = rows(90), Moments(24)
    expected.update(x)
    moments = Moments(24)
    with FeatureRows(24) as kept:
        for start, stop in ((0, 40), (40, 41), (41, 90)):
            sink = DeviceSink(moments, kept, CPU)
            for i in range(start, stop, 6):
                part = x[i : min(i + 6, stop)]
                sink.add(torch.from_numpy(part), ["a"] * len(part))
            sink.finish()
        assert np.array_equal(kept.to_array(), x)
        assert_same(moments, expected)


def test_a_row_that_is_not_finite_is_named_iv() -> None:
    moments = Moments(3)
    moments.update(rows(10, 3))
    sink = DeviceSink(moments, None, CPU)
    bad = torch.ones(2, 3)
    bad[1, 2] = float("nan")
    sink.add(torch.ones(2, 3), ["a.png", "b.png"])
    sink.add(bad, ["c.png", "d.png"])
    with pytest.raises(InputError, match=r"feature row 13 \(d\.png\)"):
        sink.finish()
    assert moments.n == 10


@pytest.mark.parametrize("metrics", [("fid", "kid"), ("is", "fid")])
def test_a_run_that_is_asynchronous_against_one_that_does(
    metrics: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    real, fake = (generator.integers(0, 256, (n, 20, 20, 3), dtype=np.uint8) for n in (70, 51))
    settings: dict[str, Any] = {"protocol": "compact", "device": "cpu", "metrics": metrics, "batch_size": 16}
    waited = evaluate(real, fake, **settings)
    statistics = build_statistics(real, rows=True, protocol="compact", device="cpu", batch_size=16)
    monkeypatch.setattr(loop, "_is_asynchronous", lambda device: True)
    queued = evaluate(real, fake, **settings)
    for name in metrics:
        assert queued[name].value == pytest.approx(waited[name].value, rel=1e-10)
    again = build_statistics(real, rows=True, protocol="compact", device="cpu", batch_size=16)
    assert np.array_equal(again.rows, statistics.rows)  # type: ignore[arg-type]
    assert np.abs(again.covariance - statistics.covariance).max() <= 1e-12 * np.abs(statistics.covariance).max()


def test_the_error_of_a_distance_by_torch_against_that_by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the device is fast at float64, eigenvectors and the pass over the rows are torch's."""
    x, y = rows(300, seed=1), rows(280, seed=2)[:, ::-1]
    found, used = [], []
    for fast in (False, True):
        monkeypatch.setattr(linalg_torch, "fast_float64", lambda device, fast=fast: fast)
        monkeypatch.setattr(frechet, "fast_float64", lambda device, fast=fast: fast)
        solve = linalg_torch.eigh_torch
        monkeypatch.setattr(
            linalg_torch, "eigh_torch", lambda m, device, solve=solve: used.append(1) or solve(m, device)
        )
        with FeatureRows(24) as real, FeatureRows(24) as fake:
            gaussians = []
            for kept, block in ((real, x), (fake, y)):
                kept.append(block)
                moments = Moments(24)
                moments.update(block)
                gaussians.append(moments.finish())
            found.append(frechet.frechet_inference(*gaussians, real, fake, device=CPU))
        assert bool(used) == fast
    by_numpy, by_torch = found
    assert by_numpy.reason is None
    for name in ("value", "bias", "standard_error"):
        assert getattr(by_torch, name) == pytest.approx(getattr(by_numpy, name), rel=1e-10)
    assert by_torch.influence_fake == pytest.approx(by_numpy.influence_fake, rel=1e-8, abs=1e-8 * by_numpy.value)


def test_which_devices_are_fast_at_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    for capability, fast in (((7, 5), False), ((8, 0), True), ((8, 6), False), ((8, 9), False), ((9, 0), True)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
        assert linalg_torch.fast_float64(torch.device("cuda")) == fast
    assert not linalg_torch.fast_float64(CPU)
    assert not linalg_torch.fast_float64(None)
    assert linalg_torch.eigh_for(CPU) is linalg.eigh_in_place


def test_decode_processes_are_a_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = open_images("dataset:shapes", num_samples=2)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)), raising=False)
    for ranks, processes in ((None, 32), ("4", 15), ("64", 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks) if ranks else monkeypatch.delenv("LOCAL_WORLD_SIZE", False)
        assert on(torch.device("cuda")).workers(rendered, InputOptions()) == processes
    assert on(CPU).workers(rendered, InputOptions()) == 0
    assert on(torch.device("cuda")).workers(rendered, InputOptions(workers=3)) == 3


def on(device: torch.device) -> Runtime:
    return Runtime(ONE, device, None, ExitStack())


# --- on a CUDA device --------------------------------------------------------------------------------------------


@pytest.fixture
def cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device("cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("protocol", ["compact", "ttur"])
def test_distance_on_an_accelerator_is_that_of_the_cpu(
    protocol: str, cuda: torch.device, surrogate_weights: Path
) -> None:
    settings = {"num_samples": 300, "protocol": protocol, "metrics": ("fid", "kid")}
    if protocol == "ttur":
        settings |= {"weights": surrogate_weights, "num_samples": 60}
    here = evaluate("dataset:shapes-plain:64", "dataset:shapes-striped:64", device="cpu", **settings)  # type: ignore[arg-type]
    there = evaluate("dataset:shapes-plain:64", "dataset:shapes-striped:64", device="cuda", **settings)  # type: ignore[arg-type]
    for name in ("fid", "kid"):
        assert there[name].value == pytest.approx(here[name].value, rel=1e-3)
    assert there.real["digest"] == here.real["digest"]


@pytest.mark.gpu
@pytest.mark.parametrize("protocol", ["compact", "ttur"])
def test_no_batch_is_waited_for(protocol: str, cuda: torch.device, surrogate_weights: Path) -> None:
    """CUDA itself raises at whatever would make the host wait, from the second batch on."""
    weights = surrogate_weights if protocol == "ttur" else None
    extractor = FeatureExtractor(get_protocol(protocol), device=cuda, weights=weights)
    batches = list(open_images("dataset:shapes:64", num_samples=192).batches(32))
    tap = extractor.tap("features")
    warm = LayerAccumulator(Moments(extractor.dimensions[tap]), FeatureRows(extractor.dimensions[tap]))
    run(batches[:1], [(extractor, {tap: warm})])
    kept = LayerAccumulator(Moments(extractor.dimensions[tap]), FeatureRows(extractor.dimensions[tap]))
    finish = DeviceSink.finish

    def relaxed(sink: DeviceSink) -> None:
        torch.cuda.set_sync_debug_mode("default")
        finish(sink)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DeviceSink, "finish", relaxed)
        with never_waiting():
            run(batches, [(extractor, {tap: kept})])
    assert kept.moments is not None
    assert kept.moments.n == 192


def test_what_a_device_cannot_is_done_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, cpu = np.diag([1.0, 2.0, 5.0]) + 0.1, torch.device("cpu")
    expected = np.linalg.eigvalsh(matrix)

    def full(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("full")

    monkeypatch.setattr(torch.linalg, "eigh", full)
    assert linalg_torch.eigh_torch(matrix.copy(), cpu)[0] == pytest.approx(expected)
    transport, root, x = np.random.default_rng(0).standard_normal((3, 4, 4))
    lengths, energy = linalg_torch.Projected(transport, root, cpu)(x)
    tight, sent, calls = linalg_torch.Projected(transport, root, cpu), linalg_torch.Projected._sent, []
    monkeypatch.setattr(
        linalg_torch.Projected,
        "_sent",
        lambda self, a: calls.append(1) or (full() if len(calls) == 3 else sent(self, a)),
    )
    assert tight(x)[0] == pytest.approx(lengths)
    assert tight(x)[1] == pytest.approx(energy)
    assert len(calls) > 3


def test_eigenvectors_that_do_not_come_leave_it_to_singular_values() -> None:
    def fails(_: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise np.linalg.LinAlgError("did not converge")

    assert linalg._by_eigenvectors(np.eye(3), fails) is None
