"""CMMD: the published form, what it is made of, and its error."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.sides import metric_inputs

from ganeval.api import evaluate
from ganeval.cli.main import main
from ganeval.errors import ConfigError, InputError
from ganeval.metrics.cmmd import cmmd, mean_term, measure, unit_rows
from ganeval.metrics.settings import Settings
from ganeval.results import Reason


def on_the_sphere(n: int, *, shift: float = 0.0, spread: float = 1.0, d: int = 32, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * spread
    x[:, 0] += 3.0
    x[:, 1] += shift
    return x


def published_form(x: np.ndarray, y: np.ndarray, sigma: float = 10.0) -> float:
    """By the definition, with whole matrices: what cmmd-pytorch computes (distance.py, ``mmd``), in float64."""

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        squares = ((a[:, None] - b[None]) ** 2).sum(-1)
        return float(np.exp(-squares / (2 * sigma**2)).mean())

    return 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))


@pytest.mark.parametrize("sigma", [10.0, 0.5])
def test_value_against_brute_force(sigma: float) -> None:
    real, fake = on_the_sphere(60, seed=1), on_the_sphere(45, shift=0.7, seed=2)
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (real, fake))
    result = measure(metric_inputs(real, fake, "cmmd", cmmd_sigma=sigma))["cmmd"]
    assert result.value == pytest.approx(published_form(x, y, sigma), rel=1e-6)  # features travel in float32
    value, found = cmmd(x, y, sigma=sigma)
    assert 1000 * value == pytest.approx(published_form(x, y, sigma), rel=1e-9)
    distinct = ~np.eye(60, dtype=bool), ~np.eye(45, dtype=bool)
    k = [np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / (2 * sigma**2)) for a, b in ((x, x), (y, y), (x, y))]
    unbiased = k[0][distinct[0]].mean() + k[1][distinct[1]].mean() - 2 * k[2].mean()
    assert found.value == pytest.approx(unbiased, rel=1e-8)
    assert result.corrected == pytest.approx(1000 * unbiased, rel=1e-6)
    assert result.details["unbiased"] == pytest.approx(1000 * unbiased, rel=1e-6)


def test_the_mean_term_is_nearly_everything_against_theory() -> None:
    """The expansion in moments of unit rows: a second-order term of 0.05 e^-.01 |M - M'|^2, and hardly more."""
    x, y = (unit_rows(rows, "real") for rows in (on_the_sphere(400, seed=1), on_the_sphere(300, shift=1.0, seed=2)))
    value = 1000 * cmmd(x, y, sigma=10.0)[0]
    first = 1000 * mean_term(x, y, sigma=10.0)
    assert first == pytest.approx(10 * math.exp(-0.01) * ((x.mean(0) - y.mean(0)) ** 2).sum(), rel=1e-12)
    moments = x.T @ x / len(x) - y.T @ y / len(y)
    second = 0.05 * math.exp(-0.01) * (moments**2).sum()
    assert first + second == pytest.approx(value, rel=1e-4)
    assert 0.98 < first / value < 1
    result = measure(metric_inputs(x, y, "cmmd"))["cmmd"]
    assert result.details["mean_term_share"] == pytest.approx(first / value, rel=1e-5)


def test_collapse_with_the_mean_in_place_is_hardly_seen() -> None:
    """Twenty different images whose mean is that of all: a tenth of what the smallest shift of the mean gives."""
    real = on_the_sphere(2000, seed=1)
    x = unit_rows(real, "real")
    few = x[np.random.default_rng(0).choice(2000, 20, replace=False)]
    few = unit_rows(few + (x.mean(0) - few.mean(0)), "fake")
    collapsed = np.repeat(few, 100, axis=0)
    blind = 1000 * cmmd(x, collapsed, sigma=10.0)[0]
    moved = 1000 * cmmd(x, unit_rows(on_the_sphere(2000, shift=0.5, seed=3), "fake"), sigma=10.0)[0]
    assert 0 < blind < 0.1 * moved


def test_standard_error_against_itself() -> None:
    """Far from equality the Hajek error is the spread of the value, to 10 per cent (300 runs: 4 per cent of noise)."""
    runs = []
    for seed in range(300):
        real, fake = on_the_sphere(80, seed=2 * seed), on_the_sphere(80, shift=1.0, seed=2 * seed + 1)
        result = measure(metric_inputs(real, fake, "cmmd"))["cmmd"]
        assert result.interval is not None
        runs.append((result.corrected, result.standard_error))
    values, errors = np.array(runs, dtype=float).T
    assert 0.88 < errors.mean() / values.std(ddof=1) < 1.15


def test_population_reference_has_no_error_and_no_bias_of_the_reals() -> None:
    """The fakes' own bias alone: E of the published form over samples of the fakes, the reals as they are."""
    real = on_the_sphere(30, seed=1)
    inputs = metric_inputs(real, on_the_sphere(40, shift=0.5, seed=2), "cmmd")
    sample = measure(inputs)["cmmd"]
    given = measure(replace(inputs, reference="population"))["cmmd"]
    assert given.value == sample.value
    assert given.standard_error is not None
    assert sample.standard_error is not None
    assert given.standard_error < sample.standard_error
    corrected = []
    for seed in range(100, 160):
        some = replace(metric_inputs(real, on_the_sphere(40, shift=0.5, seed=seed), "cmmd"), reference="population")
        corrected.append(measure(some)["cmmd"].corrected)
    x = unit_rows(real, "real")
    truth = 1000 * cmmd(x, unit_rows(on_the_sphere(5000, shift=0.5, seed=9), "fake"), sigma=10.0)[0]
    assert np.mean(corrected) == pytest.approx(truth, abs=4 * np.std(corrected) / math.sqrt(60))


def test_identical_sets_degenerate() -> None:
    x = on_the_sphere(50)
    result = measure(replace(metric_inputs(x, x.copy(), "cmmd"), shared_images=50))["cmmd"]
    assert abs(result.value) < 1e-9
    assert result.details["mean_term_share"] is None
    assert result.interval is None
    assert result.reason == Reason("shared_images", n=50)


def test_cmmd_iv() -> None:
    x = on_the_sphere(5)
    with pytest.raises(InputError, match="embedding of fake image 3 is 0"):
        measure(metric_inputs(x, np.where(np.arange(5)[:, None] == 3, 0.0, x), "cmmd"))
    with pytest.raises(ConfigError, match="must be a number above 0"):
        Settings(cmmd_sigma=0.0)


def test_through_the_program(small_clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ["dataset:shapes-plain@1", "dataset:shapes-striped@2", "--num-samples", "20", "--device", "cpu"]
    assert main(["cmmd", *sets, "--weights", str(small_clip)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("CMMD[clip-")
    assert "% of it is the distance between the two mean embeddings" in out
    assert "hardly sees a loss of variety" in err
    assert main(["cmmd", *sets, "--weights", str(small_clip), "--protocol", "compact"]) == 2
    assert "part of its definition" in capsys.readouterr().err
    run = evaluate(*sets[:2], metrics=("fid", "cmmd"), protocol="compact", num_samples=20, device="cpu",
                   weights={"clip": small_clip})  # fmt: skip
    assert [p["name"] for p in run.to_dict()["protocols"]] == ["compact", "cmmd"]
    unasked = evaluate(*sets[:2], metrics=None, protocol="compact", num_samples=20, device="cpu",
                       weights={"clip": small_clip})  # fmt: skip
    assert unasked["cmmd"].value == run["cmmd"].value
