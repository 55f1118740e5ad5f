"""The decisions on plain numbers, and their error rates."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ganeval.gate.decide import holm, p_value, planned_fakes, status
from ganeval.metrics.difference import pooled_freedom
from ganeval.metrics.intervals import one_sided_quantile


def test_bounds_and_p_values_against_scipy() -> None:
    assert one_sided_quantile(0.95) == pytest.approx(stats.norm.ppf(0.95))
    assert one_sided_quantile(0.9, 3) == pytest.approx(stats.t.ppf(0.9, 3))
    assert p_value(1.2, 0.7) == pytest.approx(stats.norm.sf(1.2 / 0.7))
    assert p_value(1.2, 0.7, 3) == pytest.approx(stats.t.sf(1.2 / 0.7, 3))


def test_holm_against_its_definition() -> None:
    """Reject the i-th smallest while p_(i) <= a / (M - i + 1)."""
    random = np.random.default_rng(0)
    for _ in range(200):
        p = random.random(5) ** 3
        alpha = random.uniform(0.01, 0.3)
        rejected: set[int] = set()
        for rank, i in enumerate(np.argsort(p)):
            if p[i] > alpha / (len(p) - rank):
                break
            rejected.add(int(i))
        assert {i for i, q in enumerate(holm(p.tolist())) if q <= alpha} == rejected
    assert holm([]) == []
    assert holm([0.2]) == [0.2]


@pytest.mark.parametrize(
    ("excess", "error", "p", "expected"),
    [
        (-2.0, 1.0, 1.0, "pass"),
        (-1.0, 1.0, 0.8, "inconclusive"),
        (2.0, 1.0, 0.02, "fail"),
        (2.0, 1.0, 0.08, "inconclusive"),  # significant alone, not among so many
        (0.0, 0.0, 1.0, "pass"),
        (-1e-12, 0.0, 1.0, "pass"),
        (1e-12, 0.0, 0.0, "fail"),
    ],
)
def test_status(excess: float, error: float, p: float, expected: str) -> None:
    assert status(excess, error, p, 0.95) == expected


def test_planner_against_theory() -> None:
    """n = V (z_a + z_b)^2 / gap^2 where the reference adds nothing; the two z are 2.926 at 0.05 and 0.9."""
    assert planned_fakes(1.0, 100.0) == math.ceil(110 * 2.9264**2)
    assert planned_fakes(0.5, 100.0) == pytest.approx(4 * planned_fakes(1.0, 100.0), abs=4)  # type: ignore[operator]
    assert planned_fakes(1.0, 100.0, power=0.8) == math.ceil(110 * 2.4865**2)
    assert planned_fakes(1.0, 100.0, (1 / 2.9264) ** 2 / 1.099) is None  # the reference alone is too noisy
    assert planned_fakes(0.0, 100.0) is None
    assert planned_fakes(1e-200, 100.0) is None


def test_freedom_of_sums_against_theory() -> None:
    assert pooled_freedom([(1.0, 3.0), (1.0, 3.0)]) == pytest.approx(6)
    assert pooled_freedom([(1.0, None), (2.0, None)]) is None
    assert pooled_freedom([(1.0, 3.0), (0.0, None)]) == pytest.approx(3)
