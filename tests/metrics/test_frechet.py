"""The Frechet distance: closed forms, brute force, degenerate sets, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from ganeval.errors import IncomparableError, InputError
from ganeval.metrics.frechet import FrechetInference, assembled, frechet_distance, frechet_inference
from ganeval.results import Interval, Reason
from ganeval.statistics.linalg import TRACE_METHODS, Coupling
from ganeval.statistics.moments import Gaussian, Moments
from ganeval.statistics.rows import FeatureRows


def features(n: int, d: int, seed: int, *, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    mixing = np.random.default_rng(100).standard_normal((d, d)) * np.arange(1, d + 1)[:, None] ** -0.5
    x = np.maximum(np.random.default_rng(seed).standard_normal((n, d)) @ mixing, -0.5)
    return (scale * x + shift).astype(np.float32)


def gaussian(x: np.ndarray, ddof: int = 1) -> Gaussian:
    moments = Moments(x.shape[1])
    moments.update(x)
    return moments.finish(ddof)


def too_few(image_set: str, n: int, *, distinct: int | None = None, rank: int = 16) -> Reason:
    needed = int(2.5 * rank) + 1
    return Reason("too_few_for_rank", n=n, image_set=image_set, distinct=distinct or n, rank=rank, needed=needed)


def kept(x: np.ndarray) -> FeatureRows:
    rows = FeatureRows(x.shape[1])
    rows.append(x)
    return rows


def infer(real: np.ndarray, fake: np.ndarray, *, ddof: int = 1, reference: str = "sample") -> FrechetInference:
    with kept(real) as real_rows, kept(fake) as fake_rows:
        return frechet_inference(gaussian(real, ddof), gaussian(fake, ddof), real_rows, fake_rows, reference=reference)


def plain_distance(mean: np.ndarray, cov: np.ndarray, real: Gaussian) -> float:
    """D by the textbook formula and symmetric square roots, independent of the package."""
    root = np.real(scipy.linalg.sqrtm(real.covariance))
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov @ root), 0.0)).sum()
    shift = mean - real.mean
    return float(shift @ shift + np.trace(cov) + np.trace(real.covariance) - 2.0 * cross)


# --- the value, against theory -----------------------------------------------------------------------------------


@pytest.mark.parametrize("trace", TRACE_METHODS)
@pytest.mark.parametrize(("ddof", "expected"), [(1, 32.0 / 3.0), (0, 10.0)])
def test_square_and_its_double_against_theory(trace: str, ddof: int, expected: float) -> None:
    """A = {(0,0), (2,0), (0,2), (2,2)} and 2A + 1: |(2,2)|^2 + 2 (sqrt(4 v) - sqrt(v))^2 with v = 4/3 or 1."""
    a = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]])
    value = frechet_distance(gaussian(a, ddof), gaussian(2.0 * a + 1.0, ddof), trace=trace)
    assert value.value == pytest.approx(expected, rel=1e-12)
    assert value.mean_term == pytest.approx(8.0)
    assert value.trace_fake == pytest.approx(4.0 * value.trace_real)


def test_commuting_covariances_against_theory() -> None:
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((10, 10)))
    a, b = np.linspace(0.1, 2.0, 10), np.linspace(3.0, 0.2, 10)
    shift = np.linspace(-1.0, 1.0, 10)
    value = frechet_distance(Gaussian(50, shift, (q * a) @ q.T), Gaussian(50, 0.0 * shift, (q * b) @ q.T)).value
    assert value == pytest.approx(shift @ shift + np.square(np.sqrt(a) - np.sqrt(b)).sum(), rel=1e-12)


def test_invariances_against_theory() -> None:
    x, y = features(200, 12, 1).astype(np.float64), features(150, 12, 2, scale=1.3, shift=0.2).astype(np.float64)
    value = frechet_distance(gaussian(x), gaussian(y)).value
    q, _ = np.linalg.qr(np.random.default_rng(3).standard_normal((12, 12)))
    for a, b, expected in (
        (y, x, value), (x @ q, y @ q, value), (x + 5.0, y + 5.0, value), (3.0 * x, 3.0 * y, 9.0 * value),
    ):  # fmt: skip
        assert frechet_distance(gaussian(a), gaussian(b)).value == pytest.approx(expected, rel=1e-10)
    assert value == pytest.approx(plain_distance(y.mean(axis=0), np.cov(y, rowvar=False), gaussian(x)), rel=1e-10)


def test_constant_fake_set_against_theory_degenerate() -> None:
    x = features(200, 12, 1)
    constant = np.repeat(features(1, 12, 2), 30, axis=0)
    value = frechet_distance(gaussian(x), gaussian(constant))
    shift = constant[0].astype(np.float64) - gaussian(x).mean
    assert value.value == pytest.approx(shift @ shift + np.trace(gaussian(x).covariance), rel=1e-12)
    assert infer(x, constant).reason == too_few("fake", 30, distinct=1, rank=12)
    assert infer(constant, constant).interval() is None


@pytest.mark.parametrize("trace", ["auto", "svd"])
def test_equal_sets_are_zero_and_never_negative(trace: str) -> None:
    for n in (40, 500):
        x = features(n, 64, 1)
        value = frechet_distance(gaussian(x), gaussian(x[::-1]), trace=trace)
        assert 0.0 <= value.value < 1e-9


def test_a_value_below_zero_by_rounding_is_zero_and_says_so() -> None:
    a = Gaussian(9, np.zeros(2), np.eye(2))
    value, notes = assembled(a, a, 2.0 + 1e-10, "svd")
    assert value == 0.0
    assert "by rounding, and is reported as 0" in notes[0]
    with pytest.raises(InputError, match=r"came out as -2e-06, below zero by more than rounding .* --trace auto"):
        assembled(a, a, 2.0 + 1e-6, "eigvals")


def test_a_wrong_trace_raises_and_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    x = features(10, 64, 1)
    y = x[np.random.default_rng(0).permutation(10)]
    monkeypatch.setattr(scipy.linalg, "eigvals", lambda *_, **__: np.full(64, 100.0))
    with pytest.raises(InputError, match="below zero by more than rounding"):
        frechet_distance(gaussian(x), gaussian(y), trace="eigvals")


def test_other_dimensions_and_ddof_are_incomparable_iv() -> None:
    with pytest.raises(IncomparableError, match="the real features have 3 dimensions, the fake ones 4"):
        frechet_distance(Gaussian(9, np.zeros(3), np.eye(3)), Gaussian(9, np.zeros(4), np.eye(4)))
    with pytest.raises(IncomparableError, match=r"ddof 1, the fake one ddof 0: convert one with with_ddof\(\)"):
        frechet_distance(Gaussian(9, np.zeros(3), np.eye(3)), Gaussian(9, np.zeros(3), np.eye(3), 0))


# --- inference, against brute force ------------------------------------------------------------------------------


@pytest.mark.parametrize("ddof", [0, 1])
def test_influence_is_the_derivative_when_mass_moves_to_a_row(ddof: int) -> None:
    real, fake = features(90, 5, 1), features(70, 5, 2, scale=1.4, shift=0.3)
    result = infer(real, fake, ddof=ddof)
    sides = (gaussian(fake, ddof), gaussian(real, ddof), fake, result.influence_fake), (
        gaussian(real, ddof), gaussian(fake, ddof), real, result.influence_real,
    )  # fmt: skip
    step = 1e-5
    for side, other, x, influence in sides:
        assert influence is not None
        assert influence.mean() == pytest.approx(0.0, abs=1e-12)
        slopes = []
        for row in x[:12].astype(np.float64):
            c = row - side.mean
            ends = [
                plain_distance(side.mean + t * c, side.covariance + t * (np.outer(c, c) - side.covariance), other)
                for t in (step, -step)
            ]
            slopes.append((ends[0] - ends[1]) / (2.0 * step))
        # the rows' influence is centred over the rows, which a ddof of 1 moves by 1/n
        offset = np.mean(influence[:12] - slopes)
        np.testing.assert_allclose(influence[:12] - offset, slopes, rtol=1e-4, atol=1e-5)
        assert abs(offset) < (1e-6 if ddof == 0 else 10.0 / len(x))


@pytest.mark.parametrize("ddof", [0, 1])
def test_bias_is_half_the_mean_second_derivative(ddof: int) -> None:
    """The plug-in's bias is E D''(F; delta_x - F) / 2n for covariances that divide by n."""
    real, fake = features(90, 5, 1), features(40, 5, 2, scale=1.4, shift=0.3)
    side, other = gaussian(fake, 0), gaussian(real, 0)

    def second_derivative(row: np.ndarray, step: float) -> float:
        c = row - side.mean

        def at(t: float) -> float:
            return plain_distance(
                side.mean + t * c, (1.0 - t) * side.covariance + t * (1.0 - t) * np.outer(c, c), other
            )

        return (at(step) - 2.0 * at(0.0) + at(-step)) / step**2

    coarse, fine = (np.mean([second_derivative(r, h) for r in fake.astype(np.float64)]) for h in (2e-3, 1e-3))
    expected = (4.0 * fine - coarse) / 3.0 / (2 * len(fake))  # Richardson
    if ddof == 0:
        assert infer(real, fake, ddof=0).bias_fake == pytest.approx(expected, rel=1e-4)
    else:  # dividing by n - 1 takes out the share of tr [(I - T) S] / n
        result = infer(real, fake, ddof=1)
        value = frechet_distance(other, side)
        removed = (value.trace_fake - value.trace_sqrt) / len(fake)
        assert result.bias_fake == pytest.approx(expected + removed, rel=0.05)


def test_everything_against_dense_formulas() -> None:
    real, fake = features(300, 8, 1), features(250, 8, 2, scale=1.2, shift=0.1)
    result = infer(real, fake)
    r, f = gaussian(real), gaussian(fake)
    root = np.real(scipy.linalg.sqrtm(f.covariance))
    inverse = np.linalg.inv(root)
    there = inverse @ np.real(scipy.linalg.sqrtm(root @ r.covariance @ root)) @ inverse  # T S T = W
    back = np.linalg.inv(there)
    cross = np.trace(there @ f.covariance)
    for x, side, transport, sign, influence, bias, error in (
        (fake, f, there, 1.0, result.influence_fake, result.bias_fake, result.se_fake),
        (real, r, back, -1.0, result.influence_real, result.bias_real, result.se_real),
    ):
        c = x.astype(np.float64) - side.mean
        values = sign * 2.0 * c @ (f.mean - r.mean) + (c * c).sum(axis=1) - ((c @ transport) * c).sum(axis=1)
        np.testing.assert_allclose(influence, values - values.mean(), atol=1e-10 * np.abs(values).max())
        assert error == pytest.approx(values.std(ddof=1) / np.sqrt(len(x)), rel=1e-10)
        # any orthogonal coordinates of T S give the bias; here those of S^1/2 T S^1/2
        half = np.real(scipy.linalg.sqrtm(side.covariance))
        s, u = np.linalg.eigh(half @ transport @ half)
        p = c @ np.linalg.inv(half) @ u * np.sqrt(s)
        fourth = np.einsum("ni,nj->ij", p * p, p * p) / len(x)
        bracket = (fourth / np.add.outer(s, s)).sum() - 0.5 * s.sum()
        assert s.sum() == pytest.approx(cross, rel=1e-10)
        assert bias == pytest.approx((np.trace(side.covariance) + bracket / 2.0) / len(x), rel=1e-10)
    assert result.value == pytest.approx(frechet_distance(r, f).value, rel=1e-12)
    assert result.corrected == pytest.approx(result.value - result.bias_real - result.bias_fake, rel=1e-14)  # type: ignore[operator]
    assert result.standard_error == pytest.approx(np.hypot(result.se_real, result.se_fake), rel=1e-14)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [10, 300])  # singular, and regular
def test_a_plan_that_is_at_hand_is_used_and_changes_nothing(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import ganeval.metrics.frechet as module

    real, fake = features(n, 16, 1), features(n, 16, 2, scale=1.2)
    r, f = gaussian(real), gaussian(fake)
    value, parts = frechet_distance(r, f), infer(real, fake)
    plan = Coupling.of(r.covariance, f.covariance)
    monkeypatch.setattr(module, "trace_sqrt", None)
    monkeypatch.setattr(module.Coupling, "of", None)
    planned = frechet_distance(r, f, root=plan.trace)
    assert planned.value == pytest.approx(value.value, rel=1e-12)
    assert planned.method == ("eigh-svd" if n == 10 else "cholesky-eigh")
    with kept(real) as real_rows, kept(fake) as fake_rows:
        assert frechet_inference(r, f, real_rows, fake_rows, plan=plan).bias_fake == parts.bias_fake


def test_interval_is_corrected_and_symmetric() -> None:
    result = infer(features(300, 8, 1), features(250, 8, 2, scale=1.2))
    assert result.corrected is not None
    assert result.standard_error is not None
    interval = result.interval(0.9)
    half = 1.6448536269514722 * result.standard_error
    assert isinstance(interval, Interval)
    assert (interval.level, interval.method, interval.estimand) == (0.9, "influence", "population")
    assert interval.low == pytest.approx(result.corrected - half, rel=1e-12)
    assert interval.high == pytest.approx(result.corrected + half, rel=1e-12)
    with pytest.raises(InputError, match="between 0 and 1"):
        result.interval(95.0)


def test_population_drops_the_terms_of_the_reference() -> None:
    real, fake = features(300, 8, 1), features(250, 8, 2, scale=1.2)
    sample, population = infer(real, fake), infer(real, fake, reference="population")
    assert (population.bias_real, population.se_real, population.influence_real) == (0.0, 0.0, None)
    assert (population.bias_fake, population.se_fake) == (sample.bias_fake, sample.se_fake)
    assert population.interval().estimand == "population-given-reference"  # type: ignore[union-attr]
    np.testing.assert_array_equal(population.influence_fake, sample.influence_fake)
    with kept(fake) as rows:  # statistics from a file: no rows, no n
        r = gaussian(real)
        from_file = frechet_inference(
            Gaussian(None, r.mean, r.covariance), gaussian(fake), None, rows, reference="population"
        )
        assert from_file.interval() == population.interval()


def test_blocks_and_the_temporary_file_change_nothing_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    import ganeval.metrics.frechet as module

    real, fake = features(300, 8, 1), features(250, 8, 2, scale=1.2)
    whole = infer(real, fake)
    monkeypatch.setattr(module, "_BLOCK", 7)
    with FeatureRows(8, memory_limit=0) as real_rows, FeatureRows(8, memory_limit=0) as fake_rows:
        for start in range(0, 300, 11):
            real_rows.append(real[start : start + 11])
            fake_rows.append(fake[start : start + 11])
        parts = frechet_inference(gaussian(real), gaussian(fake), real_rows, fake_rows)
    for name in ("value", "bias_real", "bias_fake", "se_real", "se_fake"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-12)
    np.testing.assert_allclose(parts.influence_fake, whole.influence_fake, atol=1e-11)  # type: ignore[arg-type]


# --- when there is no interval -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n_real", "n_fake", "reason"),
    [
        (200, 40, too_few("fake", 40)),
        (40, 200, too_few("real", 40)),
        (200, 41, None),
        (200, 10, too_few("fake", 10)),
    ],
)
def test_too_few_rows_for_the_rank(n_real: int, n_fake: int, reason: Reason | None) -> None:
    result = infer(features(n_real, 16, 1), features(n_fake, 16, 2))
    assert result.reason == reason
    assert result.value > 0.0
    for gone in (result.bias, result.corrected, result.standard_error, result.interval()):
        assert (gone is None) == (reason is not None)


def test_too_few_reals_do_not_matter_for_a_population() -> None:
    real, fake = features(30, 16, 1), features(200, 16, 2)
    assert infer(real, fake, reference="population").reason is None


def test_copies_buy_no_interval() -> None:
    fake = np.tile(features(30, 16, 2), (20, 1))
    assert infer(features(200, 16, 1), fake).reason == too_few("fake", 600, distinct=30)


def test_shared_rows_are_no_independent_samples() -> None:
    real, fake = features(200, 16, 1), features(200, 16, 2)
    fake[:2] = real[:2]
    assert infer(real, fake).reason is None  # 1 %
    fake[:3] = real[:3]
    assert infer(real, fake).reason == Reason("shared_features", n=3)


def test_dead_features_do_not_invalidate_degenerate() -> None:
    """Removing exactly constant features changes no number."""
    real, fake = features(200, 16, 1), features(150, 16, 2, scale=1.3)
    real[:, :3], fake[:, :3] = 0.25, 0.25
    dead, alive = infer(real, fake), infer(real[:, 3:], fake[:, 3:])
    assert dead.reason is None
    assert (dead.rank_real, dead.rank_fake) == (13, 13)
    for name in ("value", "bias_real", "bias_fake", "se_real", "se_fake"):
        assert getattr(dead, name) == pytest.approx(getattr(alive, name), rel=1e-9)


def test_a_sample_without_rows_has_a_reason() -> None:
    real, fake = features(200, 16, 1), features(200, 16, 2)
    with kept(fake) as rows:
        result = frechet_inference(gaussian(real), gaussian(fake), None, rows)
    assert result.reason == Reason("no_real_rows")
    assert (result.bias_real, result.se_real, result.interval()) == (None, None, None)
    assert result.se_fake > 0.0


def test_inference_iv() -> None:
    real, fake = features(60, 16, 1), features(60, 16, 2)
    with kept(fake) as rows, pytest.raises(InputError, match="the fake moments are of 59 rows of 16 features"):
        frechet_inference(gaussian(real), gaussian(fake[:-1]), None, rows)
    with pytest.raises(InputError, match="a sample or the population; got 'truth'"):
        infer(real, fake, reference="truth")
