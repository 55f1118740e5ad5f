"""Vendi and RKE against theory, against the n x n matrix, against themselves, and at their ends."""

from __future__ import annotations

import numpy as np
import pytest
from support.sides import metric_inputs

from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.metrics.diversity import measure, renyi, vendi
from ganeval.metrics.types import FeatureSet, MetricInputs
from ganeval.protocol import get_protocol
from ganeval.statistics.rows import FeatureRows


def rows(array: np.ndarray) -> FeatureRows:
    held = FeatureRows(array.shape[1])
    held.append(array.astype(np.float32))
    return held


def drawn(n: int, d: int = 8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)) * np.arange(1, d + 1) + 0.5


@pytest.mark.parametrize("groups", [1, 3, 8])
def test_groups_that_share_nothing_count_as_their_number(groups: int) -> None:
    array = np.repeat(np.eye(8)[:groups], 5, axis=0) * 3.0
    assert vendi(rows(array)).value == pytest.approx(groups, rel=1e-10)
    assert renyi(rows(array)).value == pytest.approx(groups, rel=1e-10)


@pytest.mark.parametrize("n", [5, 60, 1500])
def test_values_against_the_matrix_of_similarities(n: int) -> None:
    array = drawn(n).astype(np.float32).astype(np.float64)
    unit = array / np.linalg.norm(array, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / n)
    values = values[values > 1e-12]
    assert vendi(rows(array)).value == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=1e-9)
    assert renyi(rows(array)).value == pytest.approx(1 / (values**2).sum(), rel=1e-9)


def test_errors_and_bias_against_themselves() -> None:
    """800 samples of 400: standard errors within 7 %; RKE's correction takes its bias away."""
    for function in (vendi, renyi):
        truth = function(rows(drawn(400_000, seed=10**6))).value
        found = [function(rows(drawn(400, seed=i))) for i in range(800)]
        values = np.array([f.value for f in found])
        spread = values.std(ddof=1)
        assert np.sqrt(np.mean([f.standard_error**2 for f in found])) == pytest.approx(spread, rel=0.07)
        if function is renyi:
            corrected = np.mean([f.value - (f.bias or 0.0) for f in found])
            assert abs(values.mean() - truth) > 5 * spread / np.sqrt(800)
            assert abs(corrected - truth) < 4 * spread / np.sqrt(800)


def test_measure_tells_the_reals_own_number() -> None:
    collapsed = np.tile(drawn(4, seed=1), (50, 1))
    inputs = MetricInputs(
        wanted=frozenset({"vendi", "rke"}), protocol=get_protocol("compact"),
        fake=FeatureSet(n=200, rows=rows(collapsed)), real=FeatureSet(n=300, rows=rows(drawn(300))),
    )  # fmt: skip
    for name, result in measure(inputs).items():
        assert result.details["real"]["value"] > result.value, name  # type: ignore[index]
        assert result.n_real is None
        assert (result.interval is None) == (name == "rke")  # whose error is one of independent images


def test_degenerate() -> None:
    with pytest.raises(InputError, match="features of image 3 are all zero"):
        vendi(rows(np.vstack([drawn(3), np.zeros((1, 8)), drawn(2)])))
    with pytest.raises(NotEnoughSamplesError, match="at least 2 images; found 1"):
        renyi(rows(drawn(1)))
    same = rows(np.tile(drawn(1), (20, 1)))
    assert vendi(same).value == pytest.approx(1.0, abs=1e-9)
    inputs = MetricInputs(
        wanted=frozenset({"rke"}), protocol=get_protocol("compact"), fake=FeatureSet(n=20, rows=same)
    )  # fmt: skip
    assert set(measure(inputs)) == {"rke"}


@pytest.mark.parametrize("order", [0.5, 1.0, 2.0, np.inf])
def test_orders_against_the_matrix_of_similarities(order: float) -> None:
    rows = FeatureRows(6)
    rows.append(np.random.default_rng(3).standard_normal((40, 6)).astype(np.float32) + 1)
    unit = rows.to_array().astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(unit @ unit.T / 40)
    eigenvalues = eigenvalues[eigenvalues > 1e-12]
    if order == 1:
        expected = np.exp(-(eigenvalues * np.log(eigenvalues)).sum())
    elif order == np.inf:
        expected = 1 / eigenvalues.max()
    else:
        expected = (eigenvalues**order).sum() ** (1 / (1 - order))
    found = vendi(rows, order=order)
    assert found.value == pytest.approx(expected, rel=1e-9)
    if order == 2:
        assert found.value == pytest.approx(renyi(rows).value, rel=1e-9)
        np.testing.assert_allclose(found.influence, renyi(rows).influence, atol=1e-9)
    # the derivative of the value when mass moves to a row
    heavier = 1e-5
    for i in (0, 7):
        weights = np.full(40, (1 - heavier) / 40)
        weights[i] += heavier
        moment = np.einsum("i,ij,ik->jk", weights, unit, unit)
        assert (vendi(rows, moment, order=order).value - found.value) / heavier == pytest.approx(
            found.influence[i], rel=2e-3, abs=1e-6
        )


def test_order_is_in_the_label_and_in_the_key() -> None:
    array = np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)
    plain, other = (
        measure(metric_inputs(array, array, "vendi", **settings))["vendi"] for settings in ({}, {"vendi_order": "inf"})
    )
    assert (plain.label, other.label) == ("Vendi[compact-v1]", "Vendi-inf[compact-v1]")
    assert plain.comparison_key() != other.comparison_key()
    assert (dict(plain.settings), dict(other.settings)) == ({}, {"order": "inf"})
