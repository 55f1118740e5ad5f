"""Errors and diversity of translations by hand, clustered errors against themselves, and a translator that hides."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.features.perceptual import PerceptualDistance, load_distance
from ganeval.training.translation_errors import (
    absolute_error,
    clustered_mean,
    diversity,
    translation_errors,
    unconditional_diversity,
)

CPU = torch.device("cpu")
COMPACT = load_distance("compact", device=CPU)


def pictures(n: int, seed: int, size: int = 16) -> Tensor:
    return torch.randint(0, 256, (n, 3, size, size), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


# --- clusters ----------------------------------------------------------------------------------------------------


def test_clusters_against_theory() -> None:
    x = np.array([1.0, 2.0, 4.0, 9.0, 5.0])
    plain = clustered_mean(x)
    assert plain.value == x.mean()
    assert plain.standard_error == pytest.approx(x.std(ddof=1) / math.sqrt(5))
    assert (plain.n, plain.clusters) == (5, 5)
    grouped = clustered_mean(x, ["b", "a", "b", "c", "a"])
    sums = np.array([1 + 4 - 2 * 4.2, 2 + 5 - 2 * 4.2, 9 - 4.2])
    assert grouped.standard_error == pytest.approx(math.sqrt(3 / 2 * (sums**2).sum()) / 5)
    np.testing.assert_allclose(grouped.influence, sums * 3 / 5, atol=1e-12)
    doubled = clustered_mean(np.repeat(x, 2), np.repeat(np.arange(5), 2))
    assert doubled.standard_error == pytest.approx(plain.standard_error)  # copies are no new information
    interval = plain.interval(0.95)
    assert interval is not None
    assert interval.high - plain.value == pytest.approx(2.776445 * plain.standard_error)  # Student, 4 degrees


def test_clusters_against_themselves() -> None:
    """Values of one source correlate by 0.7: the clustered error holds, the plain one is far too small."""
    random, runs = np.random.default_rng(0), 1500
    sources = np.repeat(np.arange(60), 4)
    covered, ratio, plain = 0, [], []
    values = []
    for _ in range(runs):
        x = np.sqrt(0.7) * np.repeat(random.normal(size=60), 4) + np.sqrt(0.3) * random.normal(size=240)
        found = clustered_mean(x, sources)
        interval = found.interval()
        assert interval is not None
        covered += interval.low <= 0 <= interval.high
        values.append(found.value)
        ratio.append(found.standard_error)
        plain.append(clustered_mean(x).standard_error)
    assert 0.93 <= covered / runs <= 0.97
    assert np.mean(ratio) / np.std(values) == pytest.approx(1, abs=0.06)  # type: ignore[arg-type]
    assert np.mean(plain) / np.std(values) < 0.65  # type: ignore[arg-type]


def test_clusters_iv() -> None:
    with pytest.raises(NotEnoughSamplesError, match="at least one value"):
        clustered_mean(np.array([]))
    with pytest.raises(InputError, match="2 sources were named for 3 values"):
        clustered_mean(np.ones(3), [1, 2])
    with pytest.raises(InputError, match="value 1 is not a finite number"):
        clustered_mean(np.array([0.0, np.inf]))
    one = clustered_mean(np.array([1.0, 2.0]), ["a", "a"])
    assert (one.standard_error, one.interval()) == (None, None)
    assert clustered_mean(np.ones(4)).interval() is None


# --- diversity ---------------------------------------------------------------------------------------------------


def floats(images: Tensor) -> Tensor:
    return images.float() / 127.5 - 1


def test_diversity_against_all_pairs() -> None:
    outputs = [floats(pictures(5, seed)) for seed in range(5)]
    found = diversity(outputs, COMPACT)
    means = []
    for images in outputs:
        of_pairs = [float(COMPACT(images[i : i + 1], images[j : j + 1])) for i in range(5) for j in range(i)]
        means.append(np.mean(of_pairs))
        assert len(of_pairs) == 10  # more than are taken at a time
    assert found.value == pytest.approx(np.mean(means), rel=1e-5)
    assert found.standard_error == pytest.approx(np.std(means, ddof=1) / math.sqrt(5), rel=1e-4)
    assert found.clusters == 5
    shared = diversity(outputs, COMPACT, sources=[0, 0, 1, 1, 2])
    assert (shared.clusters, shared.value) == (3, found.value)


def test_pairs_are_drawn_by_seed_and_number() -> None:
    outputs = [floats(pictures(5, seed)) for seed in range(4)]
    some = diversity(outputs, COMPACT, pairs=3)
    assert some.value == diversity(outputs, COMPACT, pairs=3).value
    assert some.value != diversity(outputs, COMPACT, pairs=3, seed=1).value
    assert diversity(outputs, COMPACT, pairs=10).value == pytest.approx(diversity(outputs, COMPACT).value, rel=1e-6)
    alone = [diversity(outputs[: k + 1], COMPACT, pairs=3).value * (k + 1) for k in range(4)]
    assert some.value * 4 == pytest.approx(alone[3])
    assert min(np.diff(alone)) > 0


def test_a_generator_without_diversity_has_0() -> None:
    same = floats(pictures(1, 0)).repeat(10, 1, 1, 1)
    found = diversity([same, same + 0.0], COMPACT)
    assert (found.value, found.interval()) == (0.0, None)
    noise = [torch.randn(same.shape, generator=torch.Generator().manual_seed(i)) for i in (0, 1)]
    noisy = diversity([same + 0.1 * n for n in noise], COMPACT)
    assert noisy.value > 0.01


def test_unconditional_diversity_takes_each_image_once() -> None:
    seen: list[int] = []
    codes = PerceptualDistance("codes", lambda x: [x], None, CPU)

    class Spy(PerceptualDistance):
        def __call__(self, a: Tensor, b: Tensor) -> Tensor:
            seen.extend([*a[:, 0, 0, 0].int().tolist(), *b[:, 0, 0, 0].int().tolist()])
            return codes(a, b)

    images = torch.arange(201.0).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    found = unconditional_diversity(images, Spy("spy", lambda x: [x], None, CPU))
    assert len(seen) == len(set(seen)) == 200
    assert found.n == 100
    with pytest.raises(NotEnoughSamplesError):
        unconditional_diversity(images[:1], codes)


def test_diversity_iv() -> None:
    with pytest.raises(NotEnoughSamplesError, match="input 1 has 1 outputs, 0 pairs"):
        diversity([floats(pictures(2, 0)), floats(pictures(1, 0))], COMPACT)
    with pytest.raises(NotEnoughSamplesError, match="takes 4 pairs of the outputs for one input; input 0 has 3"):
        diversity([floats(pictures(3, 0))], COMPACT, pairs=4)


# --- errors ------------------------------------------------------------------------------------------------------


def test_absolute_error_against_theory() -> None:
    black, white = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
    assert absolute_error(black, white).tolist() == [1.0, 1.0]
    assert absolute_error(black, torch.ones(2, 3, 4, 4)).tolist() == [1.0, 1.0]
    white[1, :, :2] = 0
    assert absolute_error(white, black).tolist() == [1.0, 0.5]
    with pytest.raises(InputError, match="cannot be compared"):
        absolute_error(black, white[:1])


def test_each_error_shows_where_it_is_made() -> None:
    """There inverts; back inverts and is 0.1 of the range too dark: a cycle of 0.1, an identity error by hand."""
    a, b = pictures(20, 0), pictures(11, 1)
    found = translation_errors(lambda x: -x, lambda x: -x - 0.2, a, b, distance=COMPACT, batch_size=7)
    assert found.cycle.value == pytest.approx(0.1, abs=1e-6)
    assert found.cycle_rounded.value == pytest.approx(0.1, abs=1e-6)  # 8-bit images inverted are 8-bit images
    assert found.identity is not None
    assert found.identity.value == pytest.approx(float((2 * b.double() - 255).abs().mean()) / 255, rel=1e-6)
    assert (found.cycle.n, found.identity.n) == (20, 11)
    assert found.cycle_perceptual is not None
    expected = float(COMPACT(floats(a) - 0.2, floats(a)).double().mean())
    assert found.cycle_perceptual.value == pytest.approx(expected, rel=1e-4)
    assert found.warnings == ()
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["cycle"]["clusters"] == 20
    without = translation_errors(lambda x: x, lambda x: x, a)
    assert (without.identity, without.cycle_perceptual) == (None, None)


def test_noise_is_of_its_size_and_of_the_number_alone_batch() -> None:
    a = pictures(40, 0)
    found = translation_errors(lambda x: x, lambda x: x, a)
    assert found.cycle.value < 1e-7
    assert found.cycle_noisy.value == pytest.approx(2 / 255 * math.sqrt(2 / math.pi), rel=0.02)
    assert found.cycle_plus_noise.value == pytest.approx(found.cycle_noisy.value, rel=1e-6)  # the identity passes it on
    assert found.warnings == ()  # passed on as it is, noise is no sign of anything hidden
    again = translation_errors(lambda x: x, lambda x: x, a, batch_size=3)
    assert again.cycle_noisy.value == pytest.approx(found.cycle_noisy.value, rel=1e-9)
    assert translation_errors(lambda x: x, lambda x: x, a, seed=1).cycle_noisy.value != found.cycle_noisy.value


@pytest.mark.parametrize("depth", [1e-3, 1e-5])
def test_a_translator_that_hides_its_source_is_told(depth: float) -> None:
    """It shows a grey image, with the source in it at a thousandth of its contrast: a cycle error of nothing."""
    found = translation_errors(lambda x: x * depth, lambda y: y / depth, pictures(10, 0))
    assert found.cycle.value < 2e-3
    assert found.cycle_rounded.value > 0.2
    assert found.cycle_noisy.value > 0.2 > 0.02 > found.cycle_plus_noise.value
    assert [("rounding" in w, "hides" in w) for w in found.warnings] == [(True, True), (False, True)]
    assert "from 0.00" in found.warnings[0]
    assert "noise of 2/255" in found.warnings[1]


def test_crops_of_one_photograph_are_one_source() -> None:
    a = pictures(12, 0)
    back = lambda x: x * 0.9  # noqa: E731
    plain = translation_errors(lambda x: x, back, a)
    shared = translation_errors(lambda x: x, back, a, sources=[i // 3 for i in range(12)])
    assert shared.cycle.value == plain.cycle.value
    assert (plain.cycle.clusters, shared.cycle.clusters) == (12, 4)


def test_errors_iv() -> None:
    with pytest.raises(InputError, match="cannot be compared"):
        translation_errors(lambda x: x, lambda x: x[:, :, :8], pictures(2, 0))
    with pytest.raises(InputError, match="not a finite number"):
        translation_errors(lambda x: x * math.nan, lambda x: x, pictures(2, 0))
