"""AuthPct and C_T: what copies, held-out images and equal laws come to, and how far their errors hold."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from support.sides import metric_inputs

from ganeval.api import build_statistics, evaluate
from ganeval.cli.main import main
from ganeval.errors import ConfigError, NotEnoughSamplesError
from ganeval.metrics.memorisation import authenticity, copying, measure_authenticity, measure_copying
from ganeval.metrics.types import MetricInputs
from ganeval.results import Evaluation, MetricResult, Reason

Capture = pytest.CaptureFixture[str]


def drawn(n: int, d: int = 8, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal((n, d))).astype(np.float32)


def inputs(train: np.ndarray, fake: np.ndarray, test: np.ndarray | None, name: str) -> MetricInputs:
    return metric_inputs(train, fake, name, test=test)


def ct(train: np.ndarray, fake: np.ndarray, test: np.ndarray) -> MetricResult:
    return measure_copying(inputs(train, fake, test, "ct"))["ct"]


def authpct(train: np.ndarray, fake: np.ndarray, test: np.ndarray | None = None) -> MetricResult:
    return measure_authenticity(inputs(train, fake, test, "authpct"))["authpct"]


def test_authenticity_against_brute_force() -> None:
    train, fake = drawn(200, seed=1), drawn(90, seed=2)
    fake[:4] = train[:4]
    train[10] = train[11]  # twins
    fake[5] = train[10] + np.float32(0.01)
    wide, asked = train.astype(np.float64), fake.astype(np.float64)
    among = np.sqrt(((wide[:, None] - wide[None]) ** 2).sum(-1))
    np.fill_diagonal(among, np.inf)
    across = np.sqrt(((asked[:, None] - wide[None]) ** 2).sum(-1))
    nearest = across.argmin(axis=1)
    expected = among.min(axis=1)[nearest] < across.min(axis=1)
    ratios = authenticity(train, fake)
    assert np.array_equal(ratios > 1, expected)
    assert (ratios[:4] == 0).all()
    assert np.isinf(ratios[5])
    assert ratios[20] == pytest.approx(across.min(axis=1)[20] / among.min(axis=1)[nearest[20]], rel=1e-12)


@pytest.mark.parametrize(("d", "percent"), [(1, 33.3), (2, 37.8), (3, 40.7)])
def test_uniform_laws_against_theory(d: int, percent: float) -> None:
    """There is no universal null: one number for each dimension (mean of 30 runs, within 1)."""
    random = np.random.default_rng(d)
    found = [
        100 * np.mean(authenticity(*(random.random((2000, d)).astype(np.float32) for _ in range(2))) > 1)
        for _ in range(30)
    ]
    assert np.mean(found) == pytest.approx(percent, abs=1)


def test_authpct_of_copies_and_of_held_out_images() -> None:
    train, test = drawn(400, seed=1), drawn(300, seed=3)
    copies = authpct(train, train[:200].copy(), test)
    assert copies.value == 0
    assert copies.interval is None
    assert copies.reason == Reason("none_authentic", n=200)
    assert any("200 fake images have the very features of a training image" in w for w in copies.warnings)
    low, high = copies.details["exact_interval"]  # type: ignore[misc]
    assert low == 0
    assert high == pytest.approx(100 * (1 - 0.025 ** (1 / 200)))  # type: ignore[has-type]
    beside = authpct(train, drawn(300, seed=2), test)
    alone = authpct(train, test)
    assert beside.details["test"]["value"] == alone.value  # type: ignore[index]
    difference = beside.details["difference"]
    assert difference["value"] == pytest.approx(beside.value - alone.value)  # type: ignore[index]
    low, high = difference["interval"]  # type: ignore[index]
    assert low < 0 < high
    assert alone.details["test"] is None
    assert any("--test" in w for w in alone.warnings)
    assert alone.interval is not None
    assert alone.interval.estimand == "population-given-reference"


def test_authpct_errors_against_the_spread() -> None:
    """Given the training set every fake is a toss of one coin."""
    train = drawn(300, seed=1)
    results = [authpct(train, drawn(150, seed=10 + i)) for i in range(300)]
    spread = np.std([r.value for r in results], ddof=1)
    errors = [r.standard_error for r in results if r.standard_error is not None]
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(spread, rel=0.13)  # 300 runs: 3 standard errors


def test_copying_under_equal_laws_and_of_copies() -> None:
    """One cell: mean 0, deviation 1 over 300 runs of 300 images a set. Three cells: z has deviation 1, C_T has not."""
    one = [copying(*(drawn(300, 8, 3 * i + j) for j in range(3)), cells=1) for i in range(300)]
    assert abs(np.mean([c.value for c in one])) < 0.2
    assert np.std([c.value for c in one], ddof=1) == pytest.approx(1, abs=0.13)
    three = [copying(*(drawn(300, 8, 3 * i + j) for j in range(3))) for i in range(150)]
    assert np.std([c.z for c in three], ddof=1) == pytest.approx(1, abs=0.2)
    assert np.std([c.value for c in three], ddof=1) < 0.75
    assert np.mean([c.effect for c in three]) == pytest.approx(0.5, abs=0.01)
    train = drawn(300, 8, 1)
    copies = copying(train, train.copy(), drawn(300, 8, 2))
    assert copies.value < -10
    assert copies.effect == 0


@pytest.mark.nightly
def test_copying_errors_against_the_spread() -> None:
    """Far from equality, over 400 draws of fakes and held-out images: C_T and effect within 12 % of the truth."""
    train = drawn(300, 40, 1)
    found = [copying(train, drawn(300, 40, 2 * i, 0.95), drawn(300, 40, 2 * i + 1)) for i in range(1, 401)]
    for value, error in (("value", "standard_error"), ("effect", "effect_error")):
        spread = np.std([getattr(c, value) for c in found], ddof=1)
        assert np.sqrt(np.mean([getattr(c, error) ** 2 for c in found])) == pytest.approx(spread, rel=0.12)


def test_copying_by_hand() -> None:
    """One cell, one dimension: U counted pair by pair, ties one half."""
    train = np.arange(0, 400, 4, dtype=np.float32)[:, None]
    fake = train[:40] + np.float32(1)
    test = np.concatenate([train[:30] + np.float32(1), train[30:50] + np.float32(2), train[50:60]])
    found = copying(train, fake, test, cells=1)
    u = sum((p < 1.0) + 0.5 * (p == 1.0) for _ in range(40) for p in [1.0] * 30 + [2.0] * 20 + [0.0] * 10)
    z = (u - 40 * 60 / 2 + 0.5) / np.sqrt(40 * 60 * (40 + 60 + 1) / 12)
    assert found.value == pytest.approx(z, rel=1e-12)
    assert found.effect == pytest.approx(u / (40 * 60), rel=1e-12)


def test_wide_features_go_through_principal_components() -> None:
    """64 of them, of the training set: distances as a decomposition of the whole matrix gives them."""
    mixing = np.random.default_rng(0).standard_normal((90, 90)).astype(np.float32)
    train, fake, test = (5 + drawn(n, 90, s) @ mixing for n, s in ((1500, 1), (200, 2), (150, 3)))
    found = copying(train, fake, test)
    centred = train - train.mean(axis=0, dtype=np.float64)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:64].T
    near = [
        np.linalg.norm((x[:, None] - train[None]).astype(np.float64) @ axes, axis=2).min(axis=1)
        for x in (fake[:9], test[:9])
    ]
    assert found.margin_fake[:9] == pytest.approx(near[0], rel=1e-5)
    assert found.margin_test[:9] == pytest.approx(near[1], rel=1e-5)


def test_result_of_ct() -> None:
    train, test = drawn(400, seed=1), drawn(300, seed=3)
    result = ct(train, drawn(300, seed=2), test)
    assert result.interval is not None
    assert result.interval.low < 0 < result.interval.high
    assert result.details["effect"] == pytest.approx(0.5, abs=0.1)
    cells = result.details["cells"]
    assert len(cells) == 3  # type: ignore[arg-type]
    assert sum(c["n_fake"] for c in cells) == 300  # type: ignore[attr-defined]
    assert result.comparison_key() != ct(train, drawn(300, seed=2), drawn(300, seed=4)).comparison_key()
    again = ct(train, drawn(300, seed=2), test)
    assert again.value == result.value
    near = ct(train, train[:300] + 1e-3 * drawn(300, seed=5), test)
    assert near.value < -10
    assert near.details["p_value_copying"] < 1e-6  # type: ignore[operator]
    assert near.reason == Reason("all_nearer")
    wide = ct(drawn(300, 100, 1), drawn(200, 100, 2), drawn(200, 100, 3))  # through the principal components
    assert abs(wide.details["z"]) < 4  # type: ignore[arg-type]


def test_cells_merge_and_are_left_out() -> None:
    """Three clusters of training images; no held-out image in one, few fakes in another."""
    centres = 50 * np.eye(3, 8, dtype=np.float32)
    centres[2] = centres[1] + 10
    train = np.concatenate([drawn(100, seed=i) + c for i, c in enumerate(centres)])
    fake = np.concatenate([drawn(5, seed=11) + centres[0], drawn(60, seed=12) + centres[1], drawn(40, seed=13)])
    fake[65:] += centres[2]
    test = np.concatenate([drawn(50, seed=21) + centres[0], drawn(50, seed=22) + centres[1]])
    result = ct(train, fake, test)
    assert any("1 cell without held-out images merged" in w for w in result.warnings)
    assert any("1 cell with 5 fakes" in w for w in result.warnings)
    cells = sorted(result.details["cells"], key=lambda c: c["n_fake"])  # type: ignore[call-overload]
    assert [(c["n_train"], c["n_fake"], c["n_test"]) for c in cells] == [(100, 5, 50), (200, 100, 50)]
    assert cells[0]["z"] is None


def test_memorisation_degenerate() -> None:
    with pytest.raises(NotEnoughSamplesError, match="more than 20 fake images in a cell"):
        copying(drawn(90), drawn(30, seed=1), drawn(50, seed=2))
    with pytest.raises(NotEnoughSamplesError, match="3 cells; found 2"):
        copying(drawn(2), drawn(30, seed=1), drawn(50, seed=2))
    with pytest.raises(NotEnoughSamplesError, match="--test"):
        measure_copying(inputs(drawn(50), drawn(50), None, "ct"))


# --- through the program -----------------------------------------------------------------------------------------

SETS = ["dataset:shapes-plain@1", "dataset:shapes-striped@2", "--num-samples", "120"]
FAST = ["--protocol", "compact", "--device", "cpu", "-q", "--json"]


def test_commands(capsys: Capture) -> None:
    assert main(["authpct", *SETS, *FAST]) == 0
    out, err = capsys.readouterr()
    assert list(json.loads(out)["results"]) == ["authpct"]
    assert "pass held-out reals with --test" in err
    assert main(["ct", *SETS, *FAST, "--test", "dataset:shapes-plain@7"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["test"]["n"] == 120
    assert document["results"]["ct"]["details"]["n_test"] == 120
    assert main(["ct", *SETS, *FAST]) == 2
    assert "ct cannot be computed here: it needs held-out real images; give --test" in capsys.readouterr().err
    assert main(["eval", *SETS, *FAST, "--metrics", "fid", "--test", "dataset:shapes-plain@7"]) == 2
    assert "no metric of this run takes held-out real images" in capsys.readouterr().err


def test_engine_takes_held_out_images_and_statistics_of_them() -> None:
    """In ``eval`` unasked where there are some; a copied training set and a leaked test set are told."""
    compact = {"protocol": "compact", "device": "cpu"}
    train, fake, test = (
        build_statistics(f"dataset:shapes@{i}", num_samples=120, rows=True, **compact)  # type: ignore[arg-type]
        for i in (1, 2, 3)
    )

    def run(fake: object, test: object, *metrics: str) -> Evaluation:
        return evaluate(train, fake, test=test, metrics=metrics or None, **compact)  # type: ignore[arg-type]

    copied = run(train, test, "authpct", "ct")
    assert copied["authpct"].value == 0
    assert copied["ct"].value < -5
    assert any("120 images are in both real and fake" in w for w in copied.warnings)
    from_images = evaluate(
        train,
        train,
        test="dataset:shapes@3",
        metrics=("ct",),
        num_samples=120,
        **compact,  # type: ignore[arg-type]
    )
    assert from_images.test is not None
    assert from_images.test["n"] == 120
    assert from_images["ct"].value == pytest.approx(copied["ct"].value, rel=1e-9)
    assert Evaluation.from_dict(from_images.to_dict()).test == from_images.to_dict()["test"]
    with pytest.raises(ConfigError, match="have no features of single images"):
        run(fake, replace(test, rows=None), "ct")
    leaked = run(fake, train, "ct", "authpct")
    assert leaked["ct"].interval is None
    difference = leaked["authpct"].details["difference"]
    assert isinstance(difference, dict)
    assert difference["interval"] is None
    assert difference["reason"] == str(leaked["ct"].reason)
    with pytest.raises(ConfigError, match=r"--test \(test=\): authpct is not computed: .* --rows"):
        evaluate(replace(train, rows=None), fake, test=test, metrics=None, **compact)  # type: ignore[arg-type]
    assert leaked["ct"].reason == Reason("shared_test_images", n=120)
    assert any("120 images are in both real and test" in w for w in leaked.warnings)
    everything = run(fake, test)
    assert {"authpct", "ct", "fid"} <= set(everything.results)
