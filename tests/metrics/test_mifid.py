"""MiFID against torchmetrics, against FID, and at its ends."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support.peers import needs_peer
from support.sides import metric_inputs

from ganeval.cli.main import main
from ganeval.metrics import fid, mifid
from ganeval.metrics.mifid import nearest_cosine_distance
from ganeval.results import MetricResult, Reason


def drawn(n: int, seed: int, d: int = 24, shift: float = 0.0) -> np.ndarray:
    """Features of both signs; of the first row nothing is known."""
    rows = (np.random.default_rng(seed).standard_normal((n, d)) + shift).astype(np.float32)
    rows[0] = 0
    return rows


def copies(real: np.ndarray, n: int) -> np.ndarray:
    return real[:n] + drawn(n, 9, real.shape[1]) * np.float32(0.1)


def measured(real: np.ndarray, fake: np.ndarray, **settings: object) -> MetricResult:
    return mifid.measure(metric_inputs(real, fake, "mifid", **settings))["mifid"]


@needs_peer("torchmetrics")
@pytest.mark.parametrize("memorises", [False, True])
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_against_torchmetrics(memorises: bool, shift: float) -> None:
    from torchmetrics.image.mifid import _mifid_compute

    real = drawn(300, 1, shift=shift)
    fake = copies(real, 280) if memorises else drawn(280, 2, shift=shift)
    sides = [torch.from_numpy(x).double() for x in (real, fake)]
    parts = [part for x in sides for part in (x.mean(0), torch.cov(x.T), x)]
    expected = float(_mifid_compute(*parts))
    found = measured(real, fake)
    assert found.details["memorises"] == memorises
    assert found.value == pytest.approx(expected, rel=1e-5)
    other = float(_mifid_compute(*parts, cosine_distance_eps=0.99))
    assert measured(real, fake, mifid_threshold=0.99).value == pytest.approx(other, rel=1e-5)


def test_without_copies_it_is_fid_with_its_interval() -> None:
    real, fake = drawn(200, 1), drawn(200, 2, shift=0.3)
    plain = fid.measure(metric_inputs(real, fake, "fid"))["fid"]
    found = measured(real, fake)
    assert found.value == pytest.approx(plain.value, rel=1e-12)
    assert (found.interval, found.bias) == (plain.interval, plain.bias)
    assert found.label == "MiFD[compact-v1]"
    assert set(found.per_image) == {"mifid_influence_fake", "mifid_influence_real"}


def test_copies_have_no_interval() -> None:
    real = drawn(200, 1)
    found = measured(real, copies(real, 200))
    assert found.reason == Reason("no_standard_error", metric="MiFID")
    assert found.interval is None
    assert found.value == pytest.approx(found.details["frechet_distance"] / found.details["nearest_distance"])  # type: ignore[operator]
    assert measured(real, real).value == 0.0


def test_nearest_cosine_distance_against_its_formula() -> None:
    real, fake = drawn(1100, 1), drawn(70, 2)
    y, x = (rows[1:].astype(np.float64) for rows in (real, fake))
    cosines = y @ x.T / np.outer(np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1))
    assert nearest_cosine_distance(real, fake) == pytest.approx((1 - np.abs(cosines)).min(axis=1).mean(), rel=1e-6)
    assert nearest_cosine_distance(np.zeros((3, 2), np.float32), fake[:, :2]) == 1.0


def test_through_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "real.npy", drawn(100, 1))
    np.save(tmp_path / "fake.npy", drawn(100, 2))
    sets = [str(tmp_path / f"{name}.npy") for name in ("real", "fake")]
    assert main(["mifid", *sets, "--features", "--mifid-threshold", "0.9", "--json", "-q"]) == 0
    entry = json.loads(capsys.readouterr().out)["results"]["mifid"]
    assert (entry["settings"], entry["details"]["memorises"]) == ({"threshold": 0.9}, True)
