"""A distance relative to held-out reals: against its parts, its coverage, and what it needs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.sides import feature_set, metric_inputs

from ganeval.api import evaluate
from ganeval.cli.main import main
from ganeval.errors import ConfigError
from ganeval.metrics import fid
from ganeval.metrics.relative import relative_distance
from ganeval.statistics.rows import sampled_rows

D = 16
ROOT = np.arange(1, D + 1) ** -0.5


def drawn(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """Gaussian features; a shift moves and widens them."""
    rows = np.random.default_rng(seed).standard_normal((n, D)) * (1 + shift / 2)
    return ((rows + shift) * ROOT).astype(np.float32)


def relative(real: np.ndarray, fake: np.ndarray, heldout: np.ndarray, /, **more: Any) -> dict[str, Any]:
    inputs = replace(metric_inputs(real, fake, "fid"), **{"heldout": feature_set(heldout), **more})
    return relative_distance(inputs, None)


def plain(real: np.ndarray, fake: np.ndarray) -> float:
    return fid.measure(metric_inputs(real, fake, "fid"))["fid"].value


@pytest.mark.parametrize(("n", "k"), [(200, 200), (90, 200), (200, 60), (25, 25)])
def test_the_ratio_of_two_runs_at_equal_numbers(n: int, k: int) -> None:
    real, fake, heldout = drawn(400, 0), drawn(n, 1, 0.3), drawn(k, 2)
    found = relative(real, fake, heldout)
    least = min(n, k)
    above, below = plain(real, fake[sampled_rows(n, least)]), plain(real, heldout[sampled_rows(k, least)])
    assert (found["n"], found["reason"], found["estimand"]) == (least, None, "protocol")
    assert (found["fake"], found["heldout"]) == (pytest.approx(above, rel=1e-9), pytest.approx(below, rel=1e-9))
    assert found["value"] == pytest.approx(above / below, rel=1e-9)
    low, high = found["interval"]
    assert low < found["value"] < high
    assert low * high == pytest.approx(found["value"] ** 2)


def test_what_the_distance_has_already_is_not_computed_again() -> None:
    inputs = replace(metric_inputs(drawn(300, 0), drawn(100, 1, 0.3), "fid"), heldout=feature_set(drawn(100, 2)))
    assert fid.measure(inputs)["fid"].details["relative_to"] == relative_distance(inputs, None)


def test_where_there_is_no_interval() -> None:
    real, fake, heldout = drawn(300, 0), drawn(100, 1, 0.3), drawn(100, 2)
    same = relative(real, fake, real[:100])
    assert same["interval"] is None
    assert "bit for bit" in same["reason"]
    assert "distinct" in relative(real, np.repeat(fake[:50], 2, axis=0), heldout)["reason"]
    assert "too few distinct" in relative(real, fake[:9], heldout)["reason"]
    assert relative(heldout, fake, heldout)["value"] is None


def test_a_fixed_reference_and_groups() -> None:
    real, fake, heldout = drawn(400, 0), drawn(100, 1, 0.3), drawn(100, 2)
    sample, fixed = relative(real, fake, heldout), relative(real, fake, heldout, reference="population")
    assert fixed["estimand"] == "protocol-given-reference"
    assert fixed["value"] == pytest.approx(sample["value"])
    groups = np.arange(100) // 2
    doubled = replace(feature_set(np.repeat(fake[:50], 2, axis=0) + drawn(100, 3) * 1e-3), groups=groups)
    apart = relative(real, fake, heldout, fake=replace(doubled, groups=None))
    together = relative(real, fake, heldout, fake=doubled)
    assert together["standard_error"] > apart["standard_error"]


@pytest.fixture
def rows(tmp_path: Path) -> tuple[Path, Path, Path]:
    for name, seed, n, shift in (("real", 0, 300, 0.0), ("fake", 1, 100, 0.3), ("heldout", 2, 120, 0.0)):
        np.save(tmp_path / f"{name}.npy", drawn(n, seed, shift))
    return tmp_path / "real.npy", tmp_path / "fake.npy", tmp_path / "heldout.npy"


def test_through_the_program(rows: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    real, fake, heldout = map(str, rows)
    assert main(["fid", real, fake, "--relative-to", heldout, "--features", "--json", "-q"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["heldout"]["n"] == 120
    found = document["results"]["fid"]["details"]["relative_to"]
    assert found["n"] == 100
    page = rows[0].parent / "page.html"
    run = rows[0].parent / "run.json"
    assert main(["eval", real, fake, "--relative-to", heldout, "--features", "-q", "-o", str(run)]) == 0
    assert f"relative to held-out reals {found['value']:.3f}" in capsys.readouterr().out
    assert main(["report", str(run), "-o", str(page), "-q"]) == 0
    assert "heldout.npy" in page.read_text()


def test_of_images(capsys: pytest.CaptureFixture[str]) -> None:
    sets = ["dataset:shapes-plain@1", "dataset:shapes-plain@2"]
    found = evaluate(
        *sets,
        relative_to="dataset:shapes-plain@3",
        num_samples=60,
        protocol="compact",
        device="cpu",
        metrics=("fid", "kid"),
    )
    ratio = found["fid"].details["relative_to"]
    assert ratio["value"] == pytest.approx(1.0, abs=0.15)  # type: ignore[index]
    assert "relative_to" not in found["kid"].details
    assert found.heldout is not None


def test_relative_to_iv(rows: tuple[Path, Path, Path], tmp_path: Path) -> None:
    real, fake, heldout = rows
    with pytest.raises(ConfigError, match=r"--relative-to.*has no effect here: it needs one of the metrics fid, sfid"):
        evaluate(real, fake, features=True, relative_to=heldout, metrics=("kid",))
    np.savez(tmp_path / "moments.npz", mu=np.zeros(256), sigma=np.eye(256), n=100)
    with pytest.raises(ConfigError, match="needs the features of the single images of HELDOUT"):
        evaluate(
            "dataset:shapes-plain@1", "dataset:shapes-plain@2", relative_to=tmp_path / "moments.npz", num_samples=40,
            protocol="compact", device="cpu", assume_protocol=True,
        )  # fmt: skip


def coverage(n: int, m: int, shift: float, repeats: int) -> float:
    """The share of intervals that cover the ratio of the mean distances."""
    found = [
        relative(drawn(m, 3 * seed), drawn(n, 3 * seed + 1, shift), drawn(n, 3 * seed + 2)) for seed in range(repeats)
    ]
    truth = np.mean([one["fake"] for one in found]) / np.mean([one["heldout"] for one in found])
    return float(np.mean([one["interval"][0] <= truth <= one["interval"][1] for one in found]))


FAR, NEAR = 0.98, 1.0


@pytest.mark.nightly
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("n", "m", "shift", "most"),
    [
        (200, 200, 0.5, FAR),
        (200, 200, 2.0, FAR),
        (60, 2000, 1.0, FAR),
        (30, 300, 0.5, FAR),
        (30, 30, 2.0, FAR),
        (200, 200, 0.0, NEAR),
        (30, 300, 0.0, NEAR),
    ],
)
def test_coverage(n: int, m: int, shift: float, most: float) -> None:
    assert 0.92 <= coverage(n, m, shift, 600) <= most


def test_coverage_of_some_draws() -> None:
    assert coverage(40, 120, 0.7, 60) >= 0.85
