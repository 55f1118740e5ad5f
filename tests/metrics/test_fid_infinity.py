"""FID-infinity against closed forms and its own spread; sFID through the engine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.sides import metric_inputs

from ganeval.api import evaluate
from ganeval.cli.main import main
from ganeval.images.shapes import render
from ganeval.metrics.fid_infinity import extrapolate, influences, measure, subset_sizes
from ganeval.metrics.frechet import frechet_distance, frechet_inference
from ganeval.statistics.moments import Gaussian, Moments
from ganeval.statistics.rows import FeatureRows

Capture = pytest.CaptureFixture[str]
D = 16


def side(n: int, seed: int, scale: float = 1.0) -> tuple[Gaussian, FeatureRows]:
    x = (0.1 * (scale > 1) + scale * np.random.default_rng(seed).standard_normal((n, D))).astype(np.float32)
    rows, moments = FeatureRows(D), Moments(D)
    rows.append(x)
    moments.update(x)
    return moments.finish(), rows


TRUTH = D * 0.1**2 + D * 0.2**2  # N(0, I) against N(0.1, 1.44 I)


def test_sizes_are_those_of_papers() -> None:
    assert subset_sizes(50_000) == tuple(round(5000 + i * 45_000 / 14) for i in range(15))
    assert subset_sizes(6000)[0] == 5000
    assert subset_sizes(5001)[0] == 2500  # a line from 5000 to 5001 would tell nothing
    assert subset_sizes(1000)[0] == 500
    assert subset_sizes(1000)[-1] == 1000


def test_the_line_against_a_fit_by_hand() -> None:
    real, _ = side(2000, 1)
    fake, rows = side(1200, 2, 1.2)
    found = extrapolate(real, rows)
    slope, intercept = np.polyfit(1 / np.array(found.sizes), found.distances, 1)
    assert found.value == pytest.approx(intercept, rel=1e-9)
    assert found.slope == pytest.approx(slope, rel=1e-9)
    assert found.distances[-1] == pytest.approx(frechet_distance(real, fake).value, rel=1e-9)  # all of them
    assert extrapolate(real, rows).value == found.value


@pytest.mark.nightly
def test_bias_and_error_against_the_spread() -> None:
    """300 draws at n = 24 d, as 50 000 at 2048: no bias left, the error within 12 %; the analytic is sharper."""
    values, errors, analytic, covered = [], [], [], []
    n = 24 * D
    sizes = tuple(round(s) for s in np.linspace(round(2.44 * D), n, 15))
    for i in range(300):
        (real, real_rows), (fake, rows) = side(1000, 2 * i), side(n, 2 * i + 1, 1.2)
        line, inference = extrapolate(real, rows, sizes=sizes), frechet_inference(real, fake, real_rows, rows)
        assert inference.bias_real is not None
        assert inference.influence_fake is not None
        assert inference.se_real is not None
        values.append(line.value - inference.bias_real)
        errors.append(np.sqrt(inference.influence_fake.var(ddof=1) * line.spread + inference.se_real**2))
        analytic.append(inference.corrected)
        covered.append(abs(values[-1] - TRUTH) < 1.96 * errors[-1])
    spread = np.std(values, ddof=1)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(spread, rel=0.12)
    assert np.mean(values) == pytest.approx(TRUTH, abs=0.35 * spread)
    assert np.mean(covered) > 0.90
    assert np.std(np.array(analytic, dtype=float), ddof=1) < spread


@pytest.mark.nightly
def test_few_images_cover_the_mean_of_their_replicates() -> None:
    """At n = 2 d and n = 4 d there is no line yet: the interval is of what these numbers give on average."""
    for n in (2 * D, 4 * D):
        results = []
        for i in range(120):
            inputs = metric_inputs(
                *(side(n, 2 * i + k + n, scale)[1].to_array() for k, scale in ((0, 1.0), (1, 1.6))), "fid-inf"
            )
            for kind, scale in (("real", 1.0), ("fake", 1.6)):
                gaussian = side(n, 2 * i + (kind == "fake") + n, scale)[0]
                object.__setattr__(getattr(inputs, kind), "gaussian", gaussian)
            results.append(measure(inputs)["fid-inf"])
        values = np.array([one.value for one in results])
        covered = np.mean([one.interval.low <= values.mean() <= one.interval.high for one in results if one.interval])
        errors = np.array([one.standard_error for one in results], dtype=float)
        assert all(one.interval is not None and one.interval.estimand == "protocol" for one in results)
        assert covered > 0.91, (n, covered)
        assert 0.85 < np.sqrt(np.mean(np.square(errors))) / values.std(ddof=1) < 1.5, n


def test_influences_equal_deletion_one_by_one() -> None:
    real, real_rows = side(40, 1)
    _, rows = side(30, 2, 1.6)
    line = extrapolate(real, rows)
    of_fakes, of_reals = influences(real, rows, real_rows, line)
    array, expected = rows.to_array(), np.zeros(30)
    for weight, chosen in zip(line.weights, line.chosen, strict=True):
        kept = array[chosen]
        without = []
        for i in range(len(kept)):
            moments = Moments(D)
            moments.update(np.delete(kept, i, axis=0))
            without.append(frechet_distance(real, moments.finish()).value)
        expected[chosen] += weight * 30 / len(kept) * (len(kept) - 1) * (np.mean(without) - np.array(without))
    assert of_fakes == pytest.approx(expected - expected.mean(), abs=1e-6 * np.abs(expected).max())
    assert of_reals is not None
    assert len(of_reals) == 40


def test_result() -> None:
    inputs = metric_inputs(
        *(np.concatenate(list(side(n, n, s)[1].blocks())) for n, s in ((900, 1.0), (800, 1.2))), "fid-inf"
    )
    object.__setattr__(inputs.real, "gaussian", side(900, 900)[0])
    object.__setattr__(inputs.fake, "gaussian", side(800, 800, 1.2)[0])
    result = measure(inputs)["fid-inf"]
    assert result.label.startswith("FD-inf[compact")
    assert result.interval is not None
    assert result.interval.low < TRUTH < result.interval.high
    assert result.settings["sizes"] == list(subset_sizes(800))
    assert result.details["analytic"]["corrected"] == pytest.approx(TRUTH, abs=0.3)  # type: ignore[index]
    assert any("begins at 400 fakes; papers begin at 5000" in w for w in result.warnings)


# --- through the program -----------------------------------------------------------------------------------------


def test_fid_infinity_is_a_command_and_not_in_eval(capsys: Capture) -> None:
    sets = ["dataset:shapes-plain@1", "dataset:shapes-striped@2", "--num-samples", "60"]
    fast = ["--protocol", "compact", "--device", "cpu", "-q", "--json"]
    assert main(["fid-inf", *sets, *fast]) == 0
    entry = json.loads(capsys.readouterr().out)["results"]["fid-inf"]
    assert entry["interval"]["estimand"] == "protocol"
    assert entry["details"]["degrees_of_freedom"] == 59
    assert main(["sfid", *sets, *fast]) == 2
    assert "sfid cannot be computed here: the network compact-v1 has no output" in capsys.readouterr().err
    assert main(["cite", "sfid"]) == 0
    assert "Nash" in capsys.readouterr().out


def test_sfid_against_the_layer_and_its_order(surrogate_weights: Path) -> None:
    """The engine's value is the distance between the features of the spatial tap, height first."""
    import torch

    from ganeval.features.extractor import FeatureExtractor
    from ganeval.images.types import ImageBatch
    from ganeval.protocol import get_protocol

    real, fake = (np.stack([render(i, seed=s) for i in range(5)]) for s in (1, 2))
    run = evaluate(real, fake, metrics=("sfid",), protocol="ttur", device="cpu", weights=surrogate_weights)
    result = run["sfid"]
    assert result.label.startswith("sFD[inception-")
    assert result.details["tap"] == "mixed_6/conv[:7], height-width-channel"
    assert result.protocol.layer == "sfid"
    extractor = FeatureExtractor(
        get_protocol("ttur"), device=torch.device("cpu"), weights=surrogate_weights, layers=("spatial",)
    )
    moments = []
    for images in (real, fake):
        batch = ImageBatch(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()), [""] * 5, None)
        moments.append(Moments(2023))
        moments[-1].update(extractor(batch)["sfid"].numpy())
    expected = frechet_distance(*(m.finish() for m in moments)).value
    assert result.value == pytest.approx(expected, rel=1e-4)
    assert any("5 real images and 5 fake images for 2023 features" in w for w in result.warnings)


def test_statistics_without_rows_are_the_population() -> None:
    """As papers use it: reference moments from a file, the fakes' features at hand."""
    fakes = np.stack([render(i, seed=3) for i in range(40)])
    result = evaluate("stats:cifar10-test", fakes, metrics=("fid-inf",), protocol="compact", device="cpu")["fid-inf"]
    assert result.interval is not None
    assert result.interval.estimand == "protocol-given-reference"
    assert result.value < result.details["distances"][-1]  # type: ignore[index]
