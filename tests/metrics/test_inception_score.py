"""The Inception Score against theory, against torch-fidelity, against itself, and at its ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.peers import needs_peer

from ganeval.errors import NotEnoughSamplesError
from ganeval.metrics.inception_score import PEER_SEED, inception_score, measure, split_scores
from ganeval.metrics.settings import Settings
from ganeval.metrics.types import FeatureSet, MetricInputs
from ganeval.protocol import get_protocol
from ganeval.results import MetricResult
from ganeval.statistics.rows import FeatureRows


def rows(logits: np.ndarray, parts: int = 1) -> FeatureRows:
    held = FeatureRows(logits.shape[1])
    for part in np.array_split(logits.astype(np.float32), parts):
        held.append(part)
    return held


def drawn(n: int, classes: int = 20, seed: int = 0) -> np.ndarray:
    return 1.5 * np.random.default_rng(seed).standard_normal((n, classes)) + np.linspace(0, 1, classes)


@pytest.mark.parametrize("classes", [2, 5, 10])
def test_certain_images_of_all_classes_score_their_number(classes: int) -> None:
    logits = np.tile(200.0 * np.eye(classes), (12, 1))
    assert inception_score(rows(logits)).value == pytest.approx(classes, rel=1e-12)


def test_images_that_are_all_the_same_score_one() -> None:
    score = inception_score(rows(np.tile(drawn(1), (50, 1))))
    assert score.value == pytest.approx(1.0, abs=1e-9)
    inputs = MetricInputs(
        wanted=frozenset({"is"}), protocol=get_protocol("compact").at("logits"),
        fake=FeatureSet(n=50, rows=rows(np.tile(drawn(1), (50, 1)))),
    )  # fmt: skip
    assert measure(inputs)["is"].interval is None


def test_value_against_the_formula_written_out() -> None:
    logits = drawn(300).astype(np.float32).astype(np.float64)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    divergences = (p * np.log(p / p.mean(axis=0))).sum(axis=1)
    score = inception_score(rows(logits, parts=7))
    assert score.value == pytest.approx(np.exp(divergences.mean()), rel=1e-10)
    assert score.divergences == pytest.approx(divergences, abs=1e-10)
    assert score.standard_error == pytest.approx(score.value * divergences.std(ddof=1) / np.sqrt(300), rel=1e-10)


@needs_peer("torch_fidelity")
@pytest.mark.parametrize(("n", "splits"), [(500, 10), (503, 10), (97, 3)])
def test_splits_against_torch_fidelity(n: int, splits: int) -> None:
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = drawn(n, 1008, seed=n).astype(np.float32)
    theirs = isc_features_to_metric(torch.from_numpy(logits), splits=splits, shuffle=True, rng_seed=2020)
    ours = split_scores(logits, splits=splits)
    assert ours.mean() == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    assert ours.std() == pytest.approx(theirs["inception_score_std"], rel=1e-6)
    plain = isc_features_to_metric(torch.from_numpy(logits), splits=splits, shuffle=False)
    assert split_scores(logits, splits=splits, shuffle=False).mean() == pytest.approx(
        plain["inception_score_mean"], rel=1e-6
    )


@pytest.mark.filterwarnings("ignore:Metric `InceptionScore`", "ignore:The ``compute`` method")
@pytest.mark.parametrize("n", [11, 40])
def test_chunks_against_torchmetrics(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts, its deviation and, since its shuffle has no seed, our order."""
    from torchmetrics.image.inception import InceptionScore as Peer

    logits = drawn(n)
    peer = Peer(feature=torch.nn.Identity())
    peer.features = [torch.from_numpy(logits)]
    order = torch.from_numpy(np.random.RandomState(PEER_SEED).permutation(n))
    monkeypatch.setattr(torch, "randperm", lambda *_, **__: order)
    mean, deviation = peer.compute()
    splits = result_under("torchmetrics", logits).details["splits"]
    assert isinstance(splits, dict)
    assert splits["mean"] == pytest.approx(float(mean), rel=1e-5)  # its arithmetic is float32
    assert splits["std"] == pytest.approx(float(deviation), rel=1e-3)
    assert splits["splits"] == {11: 6, 40: 10}[n]


def test_rules_of_protocols() -> None:
    """ADM: blocks of 5000 in order and no deviation; StyleGAN: ten parts in order; asked for, a number of parts."""
    logits = drawn(12_000, 4).astype(np.float32)
    adm = result_under("adm", logits).details["splits"]
    parts = [split_scores(logits[a : a + 5000], splits=1, shuffle=False)[0] for a in (0, 5000, 10_000)]
    assert isinstance(adm, dict)
    assert adm["mean"] == pytest.approx(np.mean(parts), rel=1e-12)
    assert (adm["splits"], adm["block"], adm["shuffle"], adm["std"]) == (3, 5000, False, None)
    stylegan = result_under("stylegan", logits).details["splits"]
    assert isinstance(stylegan, dict)
    expected = split_scores(logits, splits=10, shuffle=False)
    assert (stylegan["mean"], stylegan["std"]) == pytest.approx((expected.mean(), expected.std()), rel=1e-12)
    asked = result_under("adm", logits, splits=4).details["splits"]
    assert isinstance(asked, dict)
    assert (asked["splits"], asked["block"]) == (4, None)
    values = {result_under(name, logits).value for name in ("ttur", "adm", "stylegan")}
    assert len(values) == 1


def result_under(protocol: str, logits: np.ndarray, **settings: object) -> MetricResult:
    inputs = MetricInputs(
        wanted=frozenset({"is"}), protocol=get_protocol(protocol).at("logits"),
        fake=FeatureSet(n=len(logits), rows=rows(logits)), settings=Settings(**settings),  # type: ignore[arg-type]
    )  # fmt: skip
    return measure(inputs)["is"]


def repeated(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, corrected values and standard errors of 1000 samples of ``n`` images."""
    scores = [inception_score(rows(drawn(n, seed=i))) for i in range(1000)]
    return tuple(np.array(x) for x in zip(*((s.value, s.corrected, s.standard_error) for s in scores), strict=True))  # type: ignore[return-value]


def test_error_against_itself() -> None:
    """At 400 images the standard error is the true one within 5 %, the interval covers (at 120 it covers 92 %)."""
    truth = inception_score(rows(drawn(400_000, seed=999))).value
    values, corrected, errors = repeated(400)
    assert np.sqrt((errors**2).mean()) == pytest.approx(values.std(ddof=1), rel=0.07)  # 5 %, 2.2 % of Monte Carlo
    covered = np.abs(corrected - truth) < 1.96 * errors
    assert 0.93 <= covered.mean() <= 0.97


def test_bias_against_itself() -> None:
    """At 120 images, where the bias is large, the correction takes it away."""
    whole = inception_score(rows(drawn(400_000, seed=999)))
    values, corrected, _ = repeated(120)
    error = np.hypot(values.std(ddof=1) / np.sqrt(1000), whole.standard_error)
    assert abs(values.mean() - whole.value) > 6 * error
    assert abs(corrected.mean() - whole.value) < 3 * error


@pytest.mark.parametrize("protocol", ["ttur", "torchmetrics", "adm"])
def test_splits_that_were_asked_for_are_not_made_fewer_iv(protocol: str) -> None:
    logits = np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32)
    assert result_under(protocol, logits[:7]).details["splits"]["splits"] in (1, 7)  # type: ignore[index]
    with pytest.raises(NotEnoughSamplesError, match="13 splits need at least 13 images; found 12"):
        result_under(protocol, logits, splits=13)


def test_splits_degenerate() -> None:
    with pytest.raises(NotEnoughSamplesError, match="10 splits need at least 10 images; found 4"):
        split_scores(drawn(4))
    hot = np.full((20, 3), -1e4)
    hot[:, 0] = 1e4  # probabilities that are exactly 0
    assert inception_score(rows(hot)).value == 1.0
    assert split_scores(hot, splits=2) == pytest.approx([1.0, 1.0])


def test_result_against_the_function() -> None:
    logits = drawn(200, 10)
    inputs = MetricInputs(
        wanted=frozenset({"is"}), protocol=get_protocol("compact").at("logits"),
        fake=FeatureSet(n=200, rows=rows(logits)),
    )  # fmt: skip
    result, score = measure(inputs)["is"], inception_score(rows(logits))
    assert (result.value, result.standard_error) == (score.value, score.standard_error)
    assert result.corrected == pytest.approx(score.corrected, rel=1e-12)
    influence = result.per_image["is_influence_fake"]
    assert influence.std(ddof=1) / np.sqrt(200) == pytest.approx(score.standard_error, rel=1e-12)
    assert result.higher_is_better
    assert result.n_real is None
    other = measure(inputs)["is"]
    result.require_comparable(other)
