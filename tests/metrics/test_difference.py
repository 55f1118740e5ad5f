"""Pairing two runs: which errors apply, and that nothing is paired without proof."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.gates import result, run_of

from ganeval.errors import IncomparableError
from ganeval.metrics.difference import Measurement, UndecidedError, difference, variance_of_difference

N, M = 300, 200
RANDOM = np.random.default_rng(0)
BASE = RANDOM.standard_normal(N)
A_FAKE, B_FAKE = BASE + 0.1 * RANDOM.standard_normal(N), BASE + 0.1 * RANDOM.standard_normal(N)
REAL = RANDOM.standard_normal(M)
A_REAL, B_REAL = REAL, REAL + 0.05 * RANDOM.standard_normal(M)
LATENTS, IMAGES = RANDOM.integers(0, 2**63, N, dtype=np.uint64), RANDOM.integers(0, 2**63, M, dtype=np.uint64)


def measurement(
    value: float,
    fake: np.ndarray,
    real: np.ndarray | None,
    latents: np.ndarray | None = LATENTS,
    images: np.ndarray | None = IMAGES,
    name: str = "fid",
) -> Measurement:
    arrays = {f"{name}_influence_fake": fake - fake.mean()}
    if real is not None:
        arrays[f"{name}_influence_real"] = real - real.mean()
    if latents is not None:
        arrays["fake_input_digests"] = latents
    if images is not None:
        arrays["real_image_digests"] = images
    return Measurement(result=run_of(name, value, fake, real), arrays=arrays)


A, B = measurement(10.0, A_FAKE, A_REAL), measurement(10.2, B_FAKE, B_REAL)


def var(x: np.ndarray) -> float:
    return float(np.var(x, ddof=1) / len(x))


def test_paired_is_the_variance_of_the_differences() -> None:
    found = difference(A, B)
    assert found.how == "paired"
    assert found.note is None
    assert found.value == pytest.approx(0.2)
    assert found.fake_variance == pytest.approx(var(B_FAKE - A_FAKE), rel=1e-12)
    assert found.real_variance == pytest.approx(var(B_REAL - A_REAL), rel=1e-12)
    assert found.standard_error**2 == pytest.approx(found.fake_variance + found.real_variance)


def test_pairs_are_found_in_any_order() -> None:
    fakes, reals = RANDOM.permutation(N), RANDOM.permutation(M)
    shuffled = measurement(10.2, B_FAKE[fakes], B_REAL[reals], LATENTS[fakes], IMAGES[reals])
    assert difference(A, shuffled).standard_error == pytest.approx(difference(A, B).standard_error, rel=1e-12)


def test_other_latents_share_the_reference() -> None:
    found = difference(A, measurement(10.2, B_FAKE, B_REAL, LATENTS + np.uint64(1)))
    assert found.how == "shared reference"
    assert found.note is not None
    assert "--seed" in found.note
    assert found.fake_variance == pytest.approx(var(A_FAKE) + var(B_FAKE), rel=1e-12)
    assert found.real_variance == pytest.approx(var(B_REAL - A_REAL), rel=1e-12)


def test_images_from_a_folder_prove_nothing() -> None:
    found = difference(A, measurement(10.2, B_FAKE, B_REAL, None))
    assert found.how == "shared reference"
    assert "only generators and translators tell it" in str(found.note)


def test_the_same_image_in_both_is_one_draw() -> None:
    """A folder against itself differs by nothing, and an image that both hold is counted once."""
    images = RANDOM.integers(0, 2**63, N, dtype=np.uint64)
    a, b = (measurement(10.0, A_FAKE, A_REAL, None) for _ in range(2))
    for m in (a, b):
        m.arrays["fake_image_digests"] = images  # type: ignore[index]
    assert difference(a, b).standard_error == 0
    assert difference(a, b).how == "paired"
    b.arrays["fake_image_digests"] = np.concatenate([images[:100], images[100:] + np.uint64(1)])  # type: ignore[index]
    found = difference(a, b)
    assert "100 fakes of both runs" in str(found.note)
    assert found.fake_variance == pytest.approx(2 * var(A_FAKE) * 2 / 3, rel=0.1)


def test_without_arrays_the_errors_are_independent() -> None:
    bare = Measurement(result=B.result, missing="B.json was not written with --output")
    found = difference(A, bare)
    assert found.how == "independent"
    assert found.note == bare.missing
    assert found.standard_error == pytest.approx(np.hypot(A.result.standard_error, B.result.standard_error))


def test_influences_of_another_error_are_not_used() -> None:
    """Clustered images have another standard error than their influences give row by row: then no pairing."""
    clustered = replace(B, result=replace(B.result, standard_error=2 * (B.result.standard_error or 0)))
    found = difference(A, clustered)
    assert found.how == "independent"
    assert found.standard_error == pytest.approx(np.hypot(A.result.standard_error, clustered.result.standard_error))


def test_a_population_adds_nothing() -> None:
    a, b = measurement(10.0, A_FAKE, None), measurement(10.2, B_FAKE, None)
    assert difference(a, b).real_variance == 0
    assert difference(a, b).how == "paired"
    other = measurement(10.2, B_FAKE, None, LATENTS + np.uint64(1))
    assert difference(a, other).how == "shared reference"


def test_partly_paired_lies_between() -> None:
    half = N // 2
    part = measurement(10.2, B_FAKE[:half], B_REAL, LATENTS[:half])
    found = difference(A, part)
    assert found.how == "paired"
    assert f"{half} fakes of both runs" in str(found.note)
    alone = var(A_FAKE) + var(B_FAKE[:half])
    whole = 2 * float(np.mean(BASE[:half] ** 2)) * half / (N * half)
    assert found.fake_variance == pytest.approx(alone - whole, rel=0.15)


def test_copies_are_paired_with_copies() -> None:
    ids = np.array([7, 7, 8, 9], dtype=np.uint64)
    a, b = np.array([1.0, 2.0, -1.0, -2.0]), np.array([1.5, 2.0, -1.0, -2.5])
    variance, pairs = variance_of_difference(a, b, ids, ids)
    assert pairs == 4
    assert variance == pytest.approx(var(b - a))
    assert variance_of_difference(a, b, ids, ids[:0])[1] == 0


def test_scale_reaches_value_and_error() -> None:
    found = difference(A, B, scale=1.05)
    assert found.value == pytest.approx(10.2 - 1.05 * 10.0)
    assert found.fake_variance == pytest.approx(var(B_FAKE - 1.05 * A_FAKE), rel=1e-12)
    bare = Measurement(result=B.result, missing="none")
    expected = np.hypot(1.05 * (A.result.standard_error or 0), B.result.standard_error)
    assert difference(A, bare, scale=1.05).standard_error == pytest.approx(expected)


def test_the_same_model_again_has_no_error_at_all() -> None:
    found = difference(A, A)
    assert (found.value, found.standard_error) == (0.0, 0.0)


def test_few_degrees_of_freedom_are_pooled() -> None:
    blocks = {"details": {"degrees_of_freedom": 3}, "bias": None, "estimand": "protocol", "name": "precision"}
    a, b = (Measurement(result=result(v, 0.02, **blocks)) for v in (0.7, 0.65))
    assert difference(a, b).degrees_of_freedom == pytest.approx(6)


def test_difference_iv() -> None:
    with pytest.raises(UndecidedError, match="the second has no interval: too few fake images"):
        difference(A, Measurement(result=result(10.0, None)))
    with pytest.raises(IncomparableError, match="reference"):
        difference(A, replace(B, result=replace(B.result, reference="other")))
    with pytest.raises(IncomparableError, match="estimand"):
        difference(A, measurement(10.0, B_FAKE, None))
    smaller = measurement(10.2, B_FAKE[:100], B_REAL, LATENTS[:100])
    assert difference(A, smaller).before == 10.0  # corrected values meet across numbers of fakes
    with pytest.raises(IncomparableError, match="n_fake"):
        difference(A, smaller, compare="value")
    with pytest.raises(IncomparableError, match="different things"):
        difference(A, replace(measurement(10.0, B_FAKE, None), result=replace(measurement(
            10.0, B_FAKE, None).result, n_real=M)), compare="value")  # fmt: skip
