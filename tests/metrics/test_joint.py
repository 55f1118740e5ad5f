"""FJD: against its definition, and what it sees that FID does not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.sides import metric_inputs

from ganeval.cli.main import main
from ganeval.errors import ConfigError
from ganeval.metrics import fid, joint
from ganeval.metrics.frechet import frechet_distance
from ganeval.metrics.intervals import variance_of_mean
from ganeval.results import MetricResult
from ganeval.statistics.moments import Gaussian

D = 6


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of classes a, b and c, each around a place of its own."""
    random = np.random.default_rng(seed)
    labels = random.choice(list("abc"), n)
    places = {"a": -1.0, "b": 0.0, "c": 2.0}
    return (random.standard_normal((n, D)) + [[places[c]] for c in labels]).astype(np.float32), labels


def measured(real: tuple[np.ndarray, np.ndarray], fake: tuple[np.ndarray, np.ndarray]) -> MetricResult:
    return joint.measure(metric_inputs(real[0], fake[0], "fjd", labels=(real[1], fake[1])))["fjd"]


def test_against_its_definition() -> None:
    sides = drawn(300, 0), drawn(250, 1)
    alpha = np.linalg.norm(sides[0][0].astype(np.float64), axis=1).mean()
    gaussians = []
    for rows, labels in sides:
        both = np.hstack([rows.astype(np.float64), alpha * (labels[:, None] == np.array(list("abc")))])
        gaussians.append(Gaussian(len(both), both.mean(axis=0), np.cov(both.T)))
    found = measured(*sides)
    assert found.value == pytest.approx(frechet_distance(*gaussians).value, rel=1e-6)
    assert found.details["alpha"] == pytest.approx(alpha)
    assert found.details["classes"] == 3
    assert found.label == "FJD[compact-v1]"
    assert found.interval is not None
    influences = found.per_image["fjd_influence_fake"], found.per_image["fjd_influence_real"]
    assert np.sqrt(sum(map(variance_of_mean, influences))) == pytest.approx(found.standard_error)


def test_it_sees_images_of_the_wrong_class() -> None:
    real, fake = drawn(300, 0), drawn(300, 1)
    mixed = fake[0], np.random.default_rng(2).permutation(fake[1])
    assert measured(real, mixed).value > 3 * measured(real, fake).value
    plain = [fid.measure(metric_inputs(real[0], x[0], "fid"))["fid"].value for x in (fake, mixed)]
    assert plain[0] == plain[1]


def test_a_class_of_one_side_alone_counts() -> None:
    real, fake = drawn(300, 0), drawn(300, 1)
    some = fake[1] != "c"
    found = measured(real, (fake[0][some], fake[1][some]))
    assert found.settings == {"classes": ["a", "b", "c"]}
    assert found.value > measured(real, fake).value


def test_fjd_iv() -> None:
    real, fake = drawn(30, 0), drawn(30, 1)
    with pytest.raises(ConfigError, match="fjd needs the class of every image.*REAL has none"):
        joint.measure(metric_inputs(real[0], fake[0], "fjd"))


def test_through_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, seed in (("real", 0), ("fake", 1)):
        rows, labels = drawn(200, seed)
        np.savez(tmp_path / f"{name}.npz", features=rows, labels=labels)
    sets = [str(tmp_path / f"{name}.npz") for name in ("real", "fake")]
    assert main(["fjd", *sets, "--features", "--json", "-q"]) == 0
    entry = json.loads(capsys.readouterr().out)["results"]["fjd"]
    assert entry["details"]["classes"] == 3
