"""KEN against the kernel matrix, at its ends, and in the report."""

from __future__ import annotations

import numpy as np
import pytest
from support.sides import metric_inputs

from ganeval.metrics.ken import along_modes, measure, novelty
from ganeval.report.grids import choose
from ganeval.results import Reason
from ganeval.statistics.rows import FeatureRows


def drawn(n: int, seed: int, new: int = 0, d: int = 6) -> np.ndarray:
    """Rows around one direction, of which the last ``new`` are around another."""
    rows = np.random.default_rng(seed).standard_normal((n, d)) * 0.3
    rows[: n - new, 0] += 3
    rows[n - new :, 1] += 3
    return rows.astype(np.float32)


def rows_of(array: np.ndarray) -> FeatureRows:
    rows = FeatureRows(array.shape[1])
    rows.append(array)
    return rows


@pytest.mark.parametrize("eta", [0.5, 1.0, 3.0])
def test_against_the_kernel_matrix(eta: float) -> None:
    real, fake = drawn(30, 1), drawn(40, 2, new=10)
    unit = [x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (fake, real)]
    n, m = 40, 30
    cross = np.sqrt(eta / (n * m)) * unit[0] @ unit[1].T
    matrix = np.block([[unit[0] @ unit[0].T / n, cross], [-cross.T, -eta * unit[1] @ unit[1].T / m]])
    eigenvalues = np.linalg.eigvals(matrix).real
    positive = eigenvalues[eigenvalues > 1e-9]
    expected = float((positive * np.log(positive.sum() / positive)).sum())
    found = novelty(rows_of(real), rows_of(fake), eta=eta)
    assert found.value == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(np.sort(found.eigenvalues), np.sort(positive), rtol=1e-9)


def test_the_first_mode_is_what_the_fakes_alone_have() -> None:
    fake = rows_of(drawn(40, 2, new=10))
    found = novelty(rows_of(drawn(400, 1)), fake)
    assert found.eigenvalues[0] == pytest.approx(0.25, abs=0.05)
    first = along_modes(found, fake)[0]
    assert set(np.argsort(-first)[:10].tolist()) == set(range(30, 40))


def test_equal_sets_have_nothing_new() -> None:
    rows = rows_of(drawn(30, 1))
    found = novelty(rows, rows)
    assert found.value == 0
    assert len(found.eigenvalues) == 0


def test_result_and_report() -> None:
    result = measure(metric_inputs(drawn(60, 1), drawn(40, 2, new=10), "ken", ken_eta=2.0))["ken"]
    assert result.interval is None
    assert result.reason == Reason("no_standard_error", metric="KEN")
    assert dict(result.settings) == {"eta": 2.0}
    assert result.details["novel_share"] == pytest.approx(sum(result.details["eigenvalues"]))  # type: ignore[call-overload]
    grids = {one.title: one for one in choose(result.per_image, 40)}
    assert set(grids["Mode 1 that FAKE has and REAL has not"].places) == set(range(30, 40))
    assert not any("Mode" in one.title for one in choose({}, 40))
