"""Streamed moments: equal to two-pass float64, whatever the order, the batches, the shards and the shift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.statistics.moments import Gaussian, Moments

D = 12


def rows(n: int, seed: int = 0, *, offset: float = 3.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).standard_normal((D, D))
    return (np.maximum(rng.standard_normal((n, D)) @ mixing, 0) + offset).astype(np.float32)


def streamed(x: np.ndarray, batch: int, **kwargs: object) -> Moments:
    moments = Moments(x.shape[1], **kwargs)  # type: ignore[arg-type]
    for start in range(0, len(x), batch):
        moments.update(x[start : start + batch])
    return moments


def assert_same(a: Gaussian, b: Gaussian, rel: float = 1e-12) -> None:
    assert (a.n, a.ddof) == (b.n, b.ddof)
    np.testing.assert_allclose(a.mean, b.mean, rtol=rel)
    np.testing.assert_allclose(a.covariance, b.covariance, rtol=0, atol=rel * np.abs(b.covariance).max())


def two_pass(x: np.ndarray, ddof: int = 1) -> Gaussian:
    wide = x.astype(np.float64)
    return Gaussian(len(x), wide.mean(axis=0), np.cov(wide, rowvar=False, ddof=ddof), ddof)


@pytest.mark.parametrize("ddof", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_two_pass(ddof: int, dtype: type) -> None:
    x = rows(500).astype(dtype)
    assert_same(streamed(x, 64).finish(ddof), two_pass(x, ddof))


def test_hand_made_numbers_against_theory() -> None:
    """Rows (0,0) (2,0) (0,2) (2,2): mean (1,1), covariance diag(4/3) with ddof 1 and diag(1) with ddof 0."""
    moments = Moments(2)
    moments.update(np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]]))
    np.testing.assert_allclose(moments.finish().covariance, np.eye(2) * 4 / 3)
    np.testing.assert_allclose(moments.finish(ddof=0).covariance, np.eye(2))
    np.testing.assert_allclose(moments.finish().with_ddof(0).covariance, np.eye(2))
    np.testing.assert_array_equal(moments.finish().mean, [1.0, 1.0])


def test_a_far_away_mean_costs_no_digits() -> None:
    """The mean of float32 rows, summed in float32, is off by 1e-5 at n = 50000; unshifted sums lose the covariance."""
    x = rows(20000, offset=0.0).astype(np.float64)
    far = x + 1e6
    assert_same(streamed(far, 1000).finish(), two_pass(far), rel=1e-9)
    np.testing.assert_allclose(streamed(far, 1000).finish().covariance, np.cov(x, rowvar=False), atol=1e-8)


@settings(max_examples=40)
@given(n=st.integers(2, 120), batch=st.integers(1, 130), seed=st.integers(0, 2**32 - 1))
def test_batches_and_order_change_nothing_batch(n: int, batch: int, seed: int) -> None:
    x = rows(n, 1)
    shuffled = x[np.random.default_rng(seed).permutation(n)]
    assert_same(streamed(shuffled, batch).finish(), two_pass(x))


@settings(max_examples=40)
@given(cuts=st.lists(st.integers(0, 100), max_size=6), seed=st.integers(0, 2**32 - 1))
def test_shards_merge_in_any_order_batch(cuts: list[int], seed: int) -> None:
    x = rows(100, 1)
    shards = [streamed(part, 17) for part in np.split(x, sorted(cuts))]  # some may be empty
    total = Moments(D)
    for index in np.random.default_rng(seed).permutation(len(shards)):
        total.merge(shards[index])
    assert_same(total.finish(), two_pass(x))


def test_merge_is_a_monoid() -> None:
    a, b, c = (streamed(rows(n, n), 11) for n in (30, 1, 47))
    left = Moments(D).merge(a).merge(b).merge(c).finish()
    right = Moments(D).merge(a).merge(Moments(D).merge(b).merge(c).merge(Moments(D))).finish()
    assert_same(left, right)
    assert (a.n, b.n, c.n) == (30, 1, 47)  # what is merged stays as it is
    assert_same(a.finish(), two_pass(rows(30, 30)))


def test_rebase_is_exact_whatever_the_shift() -> None:
    x = rows(200)
    moments = streamed(x, 50)
    moments.rebase(np.linspace(-50.0, 50.0, D))
    assert_same(moments.finish(), two_pass(x), rel=1e-11)
    np.testing.assert_array_equal(moments.shift, np.linspace(-50.0, 50.0, D))


def test_states_of_one_shift_add_up_as_in_an_all_reduce() -> None:
    x = rows(90)
    shift = x[:10].mean(axis=0)
    ranks = [streamed(part, 7, shift=shift).to_arrays() for part in (x[:50], x[50:], x[:0])]
    total = {**ranks[0], **{k: sum(r[k] for r in ranks) for k in ("n", "sum", "outer")}}
    assert_same(Moments.from_arrays(total).finish(), two_pass(x))


def test_arrays_round_trip_and_resume() -> None:
    x = rows(80)
    resumed = Moments.from_arrays(streamed(x[:33], 10).to_arrays())
    resumed.update(x[33:])
    assert_same(resumed.finish(), two_pass(x))
    assert Moments.from_arrays(Moments(D).to_arrays()).n == 0
    with pytest.raises(InputError, match="no state of Moments"):
        Moments.from_arrays({"n": np.zeros(1)})


def test_constant_features_have_exactly_no_variance_degenerate() -> None:
    x = rows(100)
    x[:, 3] = 0.1
    covariance = streamed(x, 7).finish().covariance
    assert (covariance[3] == 0.0).all()
    assert (covariance[:, 3] == 0.0).all()


# --- input validation --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named_iv(value: float) -> None:
    x = rows(20)
    x[13, 4] = value
    moments = Moments(D)
    moments.update(x[:10])
    with pytest.raises(InputError, match=r"feature row 13 \(img_13\.png\) has NaN or infinite entries; 1 of these 10"):
        moments.update(x[10:], names=[f"img_{i}.png" for i in range(10, 20)])
    assert moments.n == 10


def test_half_precision_is_upcast_with_a_warning_iv() -> None:
    x = rows(50)
    moments = Moments(D)
    with pytest.warns(UserWarning, match="float16 features are upcast"):
        moments.update(x.astype(np.float16))
    assert_same(moments.finish(), two_pass(x.astype(np.float16).astype(np.float32)))


def test_torch_tensors_are_taken() -> None:
    torch = pytest.importorskip("torch")
    x = rows(50)
    moments = Moments(D)
    moments.update(torch.from_numpy(x).requires_grad_())
    assert_same(moments.finish(), two_pass(x))
    with pytest.warns(UserWarning, match="bfloat16 features are upcast"):
        moments.update(torch.from_numpy(x).bfloat16())


def test_rows_iv() -> None:
    moments = Moments(D)
    with pytest.raises(InputError, match=r"expected rows of 12 features, shape \(b, 12\); got \(5, 11\)"):
        moments.update(rows(5)[:, :-1])
    with pytest.raises(InputError, match="features are float32 or float64; got int64"):
        moments.update(np.zeros((2, D), dtype=np.int64))
    with pytest.raises(InputError, match="at least 1 feature"):
        Moments(0)
    moments.update(rows(5)[:0])
    assert moments.n == 0


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_iv(n: int) -> None:
    with pytest.raises(NotEnoughSamplesError, match=f"at least 2 feature rows; got {n}"):
        streamed(rows(n), 1).finish()


def test_gaussian_iv() -> None:
    with pytest.raises(InputError, match=r"d x d; got shapes \(3,\) and \(2, 2\)"):
        Gaussian(5, np.zeros(3), np.eye(2))
    with pytest.raises(InputError, match="the covariance of the features has NaN"):
        Gaussian(5, np.zeros(2), np.full((2, 2), np.nan))
    with pytest.raises(InputError, match="the mean of the features has NaN"):
        Gaussian(5, np.array([0.0, np.inf]), np.eye(2))
    with pytest.raises(InputError, match="ddof 0 or 1; got ddof=2"):
        Gaussian(5, np.zeros(2), np.eye(2), 2)
    with pytest.raises(NotEnoughSamplesError, match="at least 2 feature rows; got 1"):
        Gaussian(1, np.zeros(2), np.eye(2))
    with pytest.raises(InputError, match="only if their n is known"):
        Gaussian(None, np.zeros(2), np.eye(2)).with_ddof(0)
