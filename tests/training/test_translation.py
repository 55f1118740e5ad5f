"""What is said of a translator: errors by hand, and an interval of a difference that knows its pairs."""

from __future__ import annotations

import json
from math import sqrt

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ganeval.errors import InputError
from ganeval.results import MetricResult
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows
from ganeval.training.translation import Yardstick, l1, paired_difference, translator


def pictures(n: int, seed: int, *, top: int = 256, size: int = 32) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    small = torch.randint(0, top, (n, 3, 4, 4), generator=random, dtype=torch.uint8)
    return small.repeat_interleave(size // 4, 2).repeat_interleave(size // 4, 3)


def test_l1_against_theory() -> None:
    black, white = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.full((2, 3, 4, 4), 255, dtype=torch.uint8)
    assert l1(black, white) == l1(white, black) == 2.0  # from -1 to 1
    white[0] = 0
    assert l1(black, white) == 1.0


def test_a_translator_keeps_bits_mode_and_shape_batch() -> None:
    class Negative(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(-torch.ones(()))
            self.seen: list[tuple[int, bool, bool]] = []

        def forward(self, x: Tensor) -> Tensor:
            self.seen.append((len(x), self.training, torch.is_grad_enabled()))
            return self.scale * x

    network = Negative().train()
    images = pictures(7, 0)
    assert torch.equal(translator(network, batch_size=3)(images), 255 - images)
    assert network.seen == [(3, False, False), (3, False, False), (1, False, False)]
    assert network.training


def test_yardstick_measures_each_error() -> None:
    """Domain b is domain a inverted; one translator errs by a constant, and each error shows where it is made."""
    a, b = pictures(40, 1, top=200), 255 - pictures(40, 2, top=200)
    found = Yardstick(a, b, pairs=255 - a, device="cpu")(lambda x: 255 - x, lambda x: 245 - x.clamp(max=245))
    assert found.pair == 0
    assert found.pair_untranslated == pytest.approx(float((255 - 2 * a.int()).abs().double().mean()) / 127.5)
    assert found.cycle == pytest.approx(float((a.int() - a.int().sub(10).clamp(min=0)).double().mean()) / 127.5)
    assert found.identity == pytest.approx(float((255 - 2 * b.int()).abs().double().mean()) / 127.5)
    assert found.translated.value < found.untranslated.value
    assert found.difference is None  # 40 images: no interval
    assert found.interval is None
    numbers = found.to_dict()
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert (numbers["n"], numbers["pair_l1"]) == (40, 0)


def test_yardstick_without_pairs_measures_the_baseline_once() -> None:
    yardstick = Yardstick(pictures(9, 1), pictures(9, 2), device="cpu")
    first = yardstick(lambda x: x, lambda x: x)
    assert first.pair is None
    assert "pair_l1" not in first.to_dict()
    assert first.cycle == first.identity == 0
    assert first.translated.value == first.untranslated.value
    assert yardstick(lambda x: 255 - x, lambda x: x).untranslated is first.untranslated


def test_yardstick_measures_other_metrics_before_and_after() -> None:
    a, b = pictures(40, 1, top=120), 255 - pictures(40, 2, top=120)
    found = Yardstick(a, b, metrics=None, device="cpu")(lambda x: 255 - x, lambda x: 255 - x)
    assert list(found.others) == ["precision", "recall", "ind"]
    before, after = found.others["ind"]
    assert before.value > 0.9  # dark against bright
    assert after.value < 0.5
    assert found.to_dict()["ind"] == after.value
    assert found.to_dict()["ind_untranslated"] == before.value
    assert found.others["precision"][0].value < found.others["precision"][1].value


def test_pairs_iv() -> None:
    with pytest.raises(InputError, match=r"Pairs of shape \(4, 3, 32, 32\) do not match images of shape \(5, 3,"):
        Yardstick(pictures(5, 0), pictures(5, 1), pairs=pictures(4, 2))


# --- the interval of the difference --------------------------------------------------------------------------------


def rows_of(array: np.ndarray) -> tuple[FeatureRows, Moments]:
    rows, moments = FeatureRows(array.shape[1]), Moments(array.shape[1])
    rows.append(array.astype(np.float32))
    moments.update(array.astype(np.float32))
    return rows, moments


def result(real: np.ndarray, fake: np.ndarray) -> MetricResult:
    """As ``ganeval.fid`` gives it."""
    from ganeval.metrics.fid import measure
    from ganeval.metrics.types import FeatureSet, MetricInputs
    from ganeval.protocol import get_protocol

    (real_rows, real_moments), (fake_rows, fake_moments) = rows_of(real), rows_of(fake)
    inputs = MetricInputs(
        wanted=frozenset({"fid"}),
        protocol=get_protocol("compact"),
        real=FeatureSet(n=len(real), gaussian=real_moments.finish(), rows=real_rows, digest=real.tobytes().hex()[:16]),
        fake=FeatureSet(n=len(fake), gaussian=fake_moments.finish(), rows=fake_rows),
    )
    return measure(inputs)["fid"]


def test_paired_difference_against_its_formula() -> None:
    random = np.random.default_rng(0)
    real, before = random.normal(size=(300, 4)), random.normal(1.0, 1.3, size=(250, 4))
    after = 0.6 * before + 0.1 * random.normal(size=before.shape)
    a, b = result(real, before), result(real, after)
    value, interval = paired_difference(a, b)
    assert a.corrected is not None
    assert b.corrected is not None
    assert value == pytest.approx(b.corrected - a.corrected, rel=1e-12)
    sides = ("fid_influence_fake", "fid_influence_real")
    changes = [b.per_image[side] - a.per_image[side] for side in sides]
    half = 1.959963984540054 * sqrt(sum(change.var(ddof=1) / len(change) for change in changes))
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((value - half, value + half), rel=1e-9)


def test_no_difference_degenerate() -> None:
    random = np.random.default_rng(0)
    one = result(random.normal(size=(90, 3)), random.normal(size=(90, 3)))
    assert paired_difference(one, one) == (0.0, None)
