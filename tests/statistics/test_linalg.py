"""The trace four ways. Needs numpy, scipy and pytest only, so that ``scipy_versions.py`` can run it on other scipys."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg

from ganeval.errors import InputError
from ganeval.statistics import linalg
from ganeval.statistics.linalg import TRACE_METHODS, Coupling, cauchy_root, covariance_factor, thin_svd, trace_sqrt

EXACT = ("auto", "svd")


def rows(n: int, d: int, seed: int, *, decay: float = 0.5, basis: int = 0) -> np.ndarray:
    """Correlated, rectified features, as a network gives them."""
    mixing = np.random.default_rng(basis).standard_normal((d, d)) * np.arange(1, d + 1)[:, None] ** -decay
    return np.maximum(np.random.default_rng(seed).standard_normal((n, d)) @ mixing + 0.3, 0.0)


def covariance(x: np.ndarray) -> np.ndarray:
    return np.cov(x, rowvar=False)


def distance(x: np.ndarray, y: np.ndarray, method: str) -> float:
    """The Frechet distance, of which the trace is the fragile part."""
    w, s = covariance(x), covariance(y)
    shift = x.mean(axis=0) - y.mean(axis=0)
    return float(shift @ shift + np.trace(w) + np.trace(s) - 2.0 * trace_sqrt(w, s, method=method).value)


def distance_by_qr(x: np.ndarray, y: np.ndarray) -> float:
    """The same from the data, without any covariance: sum of the singular values of R_x R_y^T."""
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    triangles = np.linalg.qr(a, mode="r"), np.linalg.qr(b, mode="r")
    scale = np.sqrt((len(x) - 1.0) * (len(y) - 1.0))
    root = scipy.linalg.svdvals(triangles[0] @ triangles[1].T).sum() / scale
    traces = np.square(a).sum() / (len(x) - 1) + np.square(b).sum() / (len(y) - 1)
    shift = x.mean(axis=0) - y.mean(axis=0)
    return float(shift @ shift + traces - 2.0 * root)


# --- against theory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", TRACE_METHODS)
def test_commuting_covariances_against_theory(method: str) -> None:
    rng = np.random.default_rng(0)
    q, _ = np.linalg.qr(rng.standard_normal((12, 12)))
    a, b = rng.uniform(0.1, 3.0, 12), rng.uniform(0.1, 3.0, 12)
    result = trace_sqrt((q * a) @ q.T, (q * b) @ q.T, method=method)
    assert result.value == pytest.approx(np.sqrt(a * b).sum(), rel=1e-12)
    assert result.warnings == ()


@pytest.mark.parametrize("method", TRACE_METHODS)
def test_two_by_two_against_theory(method: str) -> None:
    w, s = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 3.0]])
    product = s @ w
    expected = np.sqrt(np.trace(product) + 2.0 * np.sqrt(np.linalg.det(product)))
    assert trace_sqrt(w, s, method=method).value == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("method", TRACE_METHODS)
def test_symmetry_scaling_and_rotation_against_theory(method: str) -> None:
    w, s = covariance(rows(400, 24, 1)), covariance(rows(400, 24, 2, basis=3))
    q, _ = np.linalg.qr(np.random.default_rng(4).standard_normal((24, 24)))
    value = trace_sqrt(w, s, method=method).value
    assert trace_sqrt(s, w, method=method).value == pytest.approx(value, rel=1e-10)
    assert trace_sqrt(9.0 * w, 4.0 * s, method=method).value == pytest.approx(6.0 * value, rel=1e-10)
    assert trace_sqrt(q @ w @ q.T, q @ s @ q.T, method=method).value == pytest.approx(value, rel=1e-9)


def test_coupling_maps_one_covariance_to_the_other_against_theory() -> None:
    w, s = covariance(rows(400, 16, 1)), covariance(rows(400, 16, 2, basis=3))
    plan = Coupling.of(w, s)
    there, back = plan.to_real @ plan.to_real.T, plan.to_fake @ plan.to_fake.T
    np.testing.assert_allclose(there @ s @ there, w, atol=1e-11 * np.abs(w).max())
    np.testing.assert_allclose(back @ w @ back, s, atol=1e-11 * np.abs(s).max())
    np.testing.assert_allclose(there @ back, np.eye(16), atol=1e-9)
    assert plan.s.sum() == pytest.approx(trace_sqrt(w, s, method="svd").value, rel=1e-13)


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0, 1.3])
def test_coupling_by_eigenvectors_against_singular_values(decay: float, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = rows(1500, 96, 1, decay=decay), 1.2 * rows(1500, 96, 2, decay=decay)
    fast = Coupling.of(covariance(x), covariance(y))
    monkeypatch.setattr(linalg, "_by_eigenvectors", lambda *_: None)
    exact = Coupling.of(covariance(x), covariance(y))
    assert (fast.method, exact.method) == ("cholesky-eigh", "cholesky-svd")
    assert (np.diff(fast.s) <= 0.0).all()
    np.testing.assert_allclose(fast.s, exact.s, rtol=1e-8)
    assert fast.trace.value == pytest.approx(exact.trace.value, rel=1e-12)
    np.testing.assert_allclose(fast.left @ np.diag(fast.s) @ fast.right.T, exact.factor_real.T @ exact.factor_fake,
                               atol=1e-12 * exact.s[0])  # fmt: skip
    for one, other, rows_ in ((fast.to_real, exact.to_real, y), (fast.to_fake, exact.to_fake, x)):
        lengths = np.square(rows_ @ one).sum(axis=1), np.square(rows_ @ other).sum(axis=1)
        np.testing.assert_allclose(*lengths, rtol=1e-10)


def test_coupling_takes_singular_values_where_eigenvectors_would_cost_digits() -> None:
    spread = np.diag(np.geomspace(1.0, 1e-9, 32))
    plan = Coupling.of(spread, spread)
    assert plan.method == "cholesky-svd"
    np.testing.assert_allclose(plan.s, np.diagonal(spread), rtol=1e-12)


def test_coupling_tells_of_asymmetry() -> None:
    w = covariance(rows(200, 10, 1))
    bent = w.copy()
    bent[0, 1] += 1e-6
    assert "the fake covariance is not symmetric" in Coupling.of(w, bent).trace.warnings[0]


@pytest.mark.parametrize("s", [np.ones(300), np.geomspace(1e-9, 1e3, 300), np.linspace(1.0, 2.0, 50), np.array([3.0])])
def test_cauchy_root_against_theory(s: np.ndarray) -> None:
    root, scale = cauchy_root(s), np.sqrt(np.outer(s, s))
    assert root.shape[1] <= 20 + 9 * np.log10(s.max() / s.min())
    np.testing.assert_allclose(root @ root.T * scale, scale / np.add.outer(s, s), atol=1e-13)


def test_cauchy_root_of_nothing_degenerate() -> None:
    assert cauchy_root(np.zeros(0)).shape == (0, 0)


@pytest.mark.parametrize("n", [5, 40, 90])
def test_low_rank_factor_against_eigenvectors(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    w = covariance(rows(n, 128, 1))
    narrow = covariance_factor(w)
    monkeypatch.setattr(linalg, "_LOW_RANK", 0.0)
    whole = covariance_factor(w)
    assert narrow.rank == whole.rank == n - 1
    np.testing.assert_allclose(narrow.matrix @ narrow.matrix.T, w, atol=1e-13 * np.abs(w).max())
    np.testing.assert_allclose(np.square(narrow.matrix).sum(0), np.square(whole.matrix).sum(0), rtol=1e-10)


def test_what_is_no_covariance_is_not_taken_for_one_of_low_rank_degenerate() -> None:
    """Pivots end at the negative eigenvalue; the positive one beside it would be lost."""
    bent = np.zeros((6, 6))
    bent[0, 0], bent[1, 2], bent[2, 1] = 5.0, 1.0, 1.0
    assert covariance_factor(bent).rank == 2


# --- regular input: all four agree -------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "decay"), [(8, 0.0), (64, 0.5), (128, 0.2), (256, 1.0)])
def test_the_four_methods_agree_on_regular_input(d: int, decay: float) -> None:
    x, y = rows(6 * d, d, 1, decay=decay), 1.1 * rows(5 * d, d, 2, decay=decay) + 0.05
    values = {method: distance(x, y, method) for method in TRACE_METHODS}
    expected = distance_by_qr(x, y)
    for method, value in values.items():
        assert value == pytest.approx(expected, rel=1e-8), method


def test_auto_takes_the_fast_path_on_regular_input_only() -> None:
    x, y = rows(400, 32, 1), rows(400, 32, 2)
    assert trace_sqrt(covariance(x), covariance(y)).method == "cholesky-eigvalsh"
    assert trace_sqrt(covariance(x), covariance(y[:20])).method == "eigh-svd"
    # regular, but with eigenvalues so far apart that their square roots would cost digits
    spread = np.diag(np.geomspace(1.0, 1e-9, 32))
    assert trace_sqrt(spread, spread).method == "cholesky-svd"
    assert trace_sqrt(spread, spread).value == pytest.approx(np.trace(spread), rel=1e-14)


@pytest.mark.parametrize("decay", [0.5, 1.0, 1.5, 2.0, 3.0])
def test_auto_keeps_its_digits_where_eigenvalues_are_far_apart(decay: float) -> None:
    x, y = rows(2000, 200, 1, decay=decay), rows(2000, 200, 2, decay=decay)
    assert distance(x, y, "auto") == pytest.approx(distance_by_qr(x, y), rel=1e-10)


# --- identical sets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize(("n", "d"), [(40, 64), (500, 64), (300, 384), (2000, 256)])
def test_identical_sets_in_another_order_are_zero(n: int, d: int, method: str) -> None:
    x = rows(n, d, 1, decay=1.0)
    y = x[np.random.default_rng(5).permutation(n)]
    assert abs(distance(x, y, method)) < 1e-9


@pytest.mark.nightly
@pytest.mark.parametrize("method", EXACT)
def test_identical_sets_of_2048_features_are_zero(method: str) -> None:
    x = rows(6000, 2048, 1, decay=1.0) * 0.3
    y = x[np.random.default_rng(5).permutation(len(x))]
    assert abs(distance(x, y, method)) < 1e-9
    assert 10.0 < np.trace(covariance(x)) < 1e4  # of the size that Inception features have


# --- degenerate input --------------------------------------------------------------------------------------------


def degenerate(name: str) -> tuple[np.ndarray, np.ndarray]:
    x, y = rows(200, 96, 1), rows(180, 96, 2) * 1.2 + 0.1
    rng = np.random.default_rng(3)
    if name == "fewer rows than features":
        return x[:60], y[:80]
    if name == "fewer rows than features in one set":
        return x, y[:50]
    if name == "duplicates":
        return x[rng.integers(0, 30, 200)], y[rng.integers(0, 50, 180)]
    if name == "near-collapsed":
        return x[:1] + 1e-4 * rng.standard_normal((200, 96)), y
    if name == "both near-collapsed":
        return x[:1] + 1e-4 * rng.standard_normal((200, 96)), y[:1] + 1e-4 * rng.standard_normal((180, 96))
    if name == "constant features":
        x, y = x.copy(), y.copy()
        x[:, 5], y[:, 5], y[:, 9] = 0.1, 0.7, 3.0
        return x, y
    if name == "copied features":
        x[:, 50:60], y[:, 50:60] = x[:, 40:50], y[:, 40:50]
        return x, y
    if name == "hundredfold":
        return 100.0 * x[:60], 100.0 * y
    if name == "constant set":
        return np.repeat(x[:1], 200, axis=0), y
    dead, d = (int(word) for word in name.split(" dead of "))
    x, y = rows(2 * d, d, 1), rows(2 * d + 50, d, 2) * 1.2 + 0.1
    x[:, -dead:], y[:, -dead:] = 0.0, 0.0
    return x, y


CASES = (
    "fewer rows than features", "fewer rows than features in one set", "duplicates", "near-collapsed",
    "both near-collapsed", "constant features", "copied features", "hundredfold", "constant set",
    *(f"{dead} dead of {d}" for d in (96, 384, 448) for dead in (1, 5, 40)),
)  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", EXACT)
def test_exact_methods_against_qr_of_the_data_degenerate(name: str, method: str) -> None:
    x, y = degenerate(name)
    assert distance(x, y, method) == pytest.approx(distance_by_qr(x, y), rel=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_sqrtm_is_never_nan_and_warns_degenerate(name: str) -> None:
    x, y = degenerate(name)
    result = trace_sqrt(covariance(x), covariance(y), method="sqrtm")
    exact = trace_sqrt(covariance(x), covariance(y), method="svd").value
    assert np.isfinite(result.value)
    assert abs(result.value - exact) < 1e-4 * (np.trace(covariance(x)) + np.trace(covariance(y)))
    if "near-collapsed" not in name:
        assert any("rank deficient" in warning for warning in result.warnings)


def test_eigvals_warns_and_names_the_ranks_degenerate() -> None:
    x, y = degenerate("fewer rows than features")
    result = trace_sqrt(covariance(x), covariance(y), method="eigvals")
    assert "real rank 59 of 96" in result.warnings[0]
    assert "fake rank 79 of 96" in result.warnings[0]
    assert trace_sqrt(covariance(x), covariance(y)).warnings == ()


def test_dead_features_change_nothing() -> None:
    x, y = degenerate("40 dead of 384")
    assert distance(x, y, "auto") == pytest.approx(distance(x[:, :-40], y[:, :-40], "auto"), rel=1e-11)


def test_constant_sets_degenerate() -> None:
    zero, some = np.zeros((7, 7)), covariance(rows(50, 7, 1))
    for method in EXACT:
        assert trace_sqrt(zero, some, method=method).value == 0.0
        assert trace_sqrt(zero, zero, method=method).value == 0.0
    assert Coupling.of(zero, some).s.size == 0


def test_one_feature() -> None:
    for method in TRACE_METHODS:
        assert trace_sqrt(np.array([[4.0]]), np.array([[9.0]]), method=method).value == pytest.approx(6.0)


def test_cholesky_of_a_singular_matrix_is_not_believed_degenerate() -> None:
    """Rounding lets Cholesky succeed on some exactly singular matrices; the pivots give them away."""
    for seed in range(300):
        x = np.random.default_rng(seed).standard_normal((8, 8))  # 8 rows: rank 7
        w = covariance(x)
        assert covariance_factor(w).rank == 7
        assert trace_sqrt(w, w).value == pytest.approx(np.trace(w), rel=1e-12)


@pytest.mark.parametrize("method", ["cholesky", "eigh"])
def test_both_factors_give_the_covariance_back(method: str) -> None:
    w = covariance(rows(300 if method == "cholesky" else 15, 20, 1))
    factor = covariance_factor(w)
    assert factor.method == method
    np.testing.assert_allclose(factor.matrix @ factor.matrix.T, w, atol=1e-13 * np.abs(w).max())


def test_thin_svd_drops_zeros_and_takes_empty_matrices() -> None:
    u, s, v = thin_svd(np.outer([1.0, 2.0, 2.0], [3.0, 4.0]))
    assert (u.shape, v.shape) == ((3, 1), (2, 1))
    np.testing.assert_allclose(s, [15.0])
    assert thin_svd(np.zeros((3, 0)))[1].size == 0
    assert thin_svd(np.zeros((3, 2)))[1].size == 0


def test_thin_svd_falls_back_when_divide_and_conquer_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    original = scipy.linalg.svd

    def fails(*args: object, **kwargs: object) -> object:
        if kwargs.get("lapack_driver", "gesdd") == "gesdd":
            raise np.linalg.LinAlgError("SVD did not converge")
        return original(*args, **kwargs)

    monkeypatch.setattr(scipy.linalg, "svd", fails)
    np.testing.assert_allclose(thin_svd(np.diag([3.0, 2.0]))[1], [3.0, 2.0])


# --- scipy.linalg.sqrtm and its faults ---------------------------------------------------------------------------


def test_sqrtm_is_called_without_keywords_as_scipy_1_18_demands(monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = scipy.linalg.sqrtm, []

    def one_argument(A: np.ndarray) -> np.ndarray:
        calls.append(A.shape)
        return original(A)

    monkeypatch.setattr(scipy.linalg, "sqrtm", one_argument)
    w, s = covariance(rows(200, 10, 1)), covariance(rows(200, 10, 2))
    result = trace_sqrt(w, s, method="sqrtm")
    assert calls == [(10, 10)]
    assert result.method == "sqrtm"


def garbage(name: str, A: np.ndarray) -> np.ndarray:
    if name == "all NaN":
        return np.full_like(A, np.nan)
    if name == "infinite":
        return np.full_like(A, np.inf)
    if name == "complex diagonal":
        return np.asarray(scipy.linalg.cholesky(np.eye(len(A)))) * (1.0 + 0.1j)
    if name == "wrong root":
        return 3.0 * np.eye(len(A))
    if name == "huge":
        return np.full_like(A, 1e114)
    if name == "two results":
        return (np.eye(len(A)), 0.0)  # type: ignore[return-value]
    raise np.linalg.LinAlgError("internal error")


@pytest.mark.parametrize(
    "name", ["all NaN", "infinite", "complex diagonal", "wrong root", "huge", "two results", "exception"]
)
def test_a_failed_sqrtm_falls_through_to_svd_and_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    w, s = covariance(rows(200, 10, 1)), covariance(rows(200, 10, 2))
    monkeypatch.setattr(scipy.linalg, "sqrtm", lambda A: garbage(name, A))
    result = trace_sqrt(w, s, method="sqrtm")
    assert result.value == trace_sqrt(w, s, method="svd").value
    assert result.method == "eigh-svd"
    assert any("singular values were used instead" in warning for warning in result.warnings)


def test_a_small_imaginary_part_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    w, s = covariance(rows(200, 10, 1)), covariance(rows(200, 10, 2))
    original = scipy.linalg.sqrtm
    monkeypatch.setattr(scipy.linalg, "sqrtm", lambda A: original(A) + 1e-9j)
    result = trace_sqrt(w, s, method="sqrtm")
    assert result.method == "sqrtm"
    assert result.value == pytest.approx(trace_sqrt(w, s).value, rel=1e-10)


def test_what_sqrtm_prints_and_warns_is_caught(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = scipy.linalg.sqrtm

    def talkative(A: np.ndarray) -> np.ndarray:
        print("Failed to find a square root.")
        warnings.warn("Matrix is singular.", scipy.linalg.LinAlgWarning, stacklevel=2)
        return np.asarray(original(A))

    monkeypatch.setattr(scipy.linalg, "sqrtm", talkative)
    result = trace_sqrt(covariance(rows(90, 10, 1)), covariance(rows(90, 10, 2)), method="sqrtm")
    assert capsys.readouterr().out == ""
    assert "scipy.linalg.sqrtm: Matrix is singular." in result.warnings


def test_nothing_is_added_to_the_diagonal() -> None:
    """A regularised root of the square of 1e-6 x identity would be off by a factor of two."""
    tiny = 1e-6 * np.eye(6)
    for method in TRACE_METHODS:
        assert trace_sqrt(tiny, tiny, method=method).value == pytest.approx(6e-6, rel=1e-12)


# --- input validation --------------------------------------------------------------------------------------------


def test_nan_is_refused_iv() -> None:
    bad = np.eye(3)
    bad[1, 1] = np.nan
    for method in TRACE_METHODS:
        with pytest.raises(InputError, match="the fake covariance has NaN or infinite entries"):
            trace_sqrt(np.eye(3), bad, method=method)
        with pytest.raises(InputError, match="the real covariance has NaN"):
            trace_sqrt(bad, np.eye(3), method=method)


def test_shapes_and_method_iv() -> None:
    with pytest.raises(InputError, match=r"differ in shape: \(3, 3\) real, \(4, 4\) fake"):
        trace_sqrt(np.eye(3), np.eye(4))
    with pytest.raises(InputError, match="must be a square matrix"):
        trace_sqrt(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(InputError, match="auto, sqrtm, svd, eigvals; got 'newton'"):
        trace_sqrt(np.eye(3), np.eye(3), method="newton")


def test_asymmetry_is_averaged_with_a_warning_iv() -> None:
    w = covariance(rows(200, 10, 1))
    bent = w.copy()
    bent[0, 1] += 1e-6
    result = trace_sqrt(bent, w)
    assert "the real covariance is not symmetric" in result.warnings[0]
    assert trace_sqrt(w, w).warnings == ()
