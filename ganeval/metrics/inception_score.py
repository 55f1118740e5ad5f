"""The Inception Score: are single images recognised with certainty, and all classes drawn (Salimans et al. 2016)?

With class probabilities p_i = softmax(logits of image i) and their mean p

    IS = exp(L),   L = (1/n) sum_i KL(p_i || p)
    IF(x) = KL(p_x || p) - L   is the influence of an image on L (the change of p has no first-order effect), so
    SE(IS) = IS sd(KL_i) / sqrt(n),   E L_hat = L - beta,   beta = (1/2n) sum_c Var(p_c) / p_c
    corrected IS = exp(L_hat + beta - Var(KL_i) / (2n))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import log_softmax, xlogy

from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.metrics.build_result import build_result
from ganeval.metrics.types import MetricInputs
from ganeval.results import MetricResult
from ganeval.statistics.rows import FeatureRows

PEER_SEED = 2020  # torch-fidelity's shuffle before the splits


@dataclass(frozen=True, slots=True)
class InceptionScore:
    """The whole-sample score; ``divergences`` (n,) are KL(p_i || p) in nats."""

    value: float
    standard_error: float
    corrected: float
    divergences: np.ndarray


def inception_score(logits: FeatureRows) -> InceptionScore:
    """The score of all images at once, with its standard error and first-order bias correction.

    Shape:
        logits (n, C), n >= 2; the value lies between 1 and C.

    >>> rows = FeatureRows(3)
    >>> rows.append(np.eye(3, dtype=np.float32) * 1000)  # every image certain, every class drawn
    >>> round(inception_score(rows).value, 9)
    3.0
    """
    n, total, squares = len(logits), np.zeros(logits.dimension), np.zeros(logits.dimension)
    entropy = np.empty(n)
    start = 0
    for p, log_p in _probabilities(logits):
        total += p.sum(axis=0)
        squares += (p * p).sum(axis=0)
        entropy[start : start + len(p)] = (p * np.where(p > 0, log_p, 0.0)).sum(axis=1)
        start += len(p)
    mean = total / n
    cross = np.empty(n)
    log_mean = np.log(np.where(mean > 0, mean, 1.0))  # a class of no probability at all has no part in any sum
    start = 0
    for p, _ in _probabilities(logits):
        cross[start : start + len(p)] = p @ log_mean
        start += len(p)
    divergences = entropy - cross
    log_score = float(entropy.mean() - xlogy(mean, mean).sum())
    variance = float(divergences.var(ddof=1)) / n
    seen = mean > 0
    class_variance = np.maximum(squares - n * mean * mean, 0.0) / (n - 1)
    bias = float((class_variance[seen] / mean[seen]).sum()) / (2 * n)
    value = float(np.exp(log_score))
    corrected = float(np.exp(log_score + bias - variance / 2))
    return InceptionScore(value, value * float(np.sqrt(variance)), corrected, divergences)


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How a protocol's tool takes the score over parts.

    Attributes:
        shuffle: or in the order of the images, where parts of files that are sorted by class mean nothing.
        ddof: of the deviation over parts; None: the tool prints none.
        block: parts of exactly so many images, the last one shorter; None: a number of parts.
        chunks: so many parts at most, all as long as the longest but the last (11 images in 10 parts: 6 of them).
    """

    shuffle: bool = True
    ddof: int | None = 0
    block: int | None = None
    chunks: bool = False


# by protocol; torch-fidelity's rule for all others
SPLIT_RULES: Mapping[str, SplitRule] = {
    "adm": SplitRule(shuffle=False, ddof=None, block=5000),
    "stylegan": SplitRule(shuffle=False),
    "torchmetrics": SplitRule(ddof=1, chunks=True),
}


def split_scores(
    logits: np.ndarray, *, splits: int = 10, shuffle: bool = True, seed: int = PEER_SEED, block: int | None = None
) -> np.ndarray:
    """The score of each of ``splits`` consecutive parts, after a seeded shuffle: (splits,).

    Args:
        block: parts of exactly so many images, the last one shorter, in place of ``splits`` nearly equal ones.

    Mean and deviation (ddof 0) equal torch-fidelity's to 1e-6 relative. The mean has ``splits`` times the bias of the
    whole-sample value, and the deviation is no standard error.

    Raises:
        NotEnoughSamplesError: fewer images than splits.
    """
    n = len(logits)
    if splits < 1:
        raise InputError(f"the Inception Score is taken over 1 split or more; got {splits}. The usual number is 10.")
    bounds = [i * n // splits for i in range(splits + 1)] if block is None else [*range(0, n, block), n]
    if block is None and n < splits:
        raise NotEnoughSamplesError(f"{splits} splits need at least {splits} images; found {n}. Ask for fewer splits.")
    order = np.random.RandomState(seed).permutation(n) if shuffle else np.arange(n)
    scores = []
    for start, end in pairwise(bounds):
        log_p = log_softmax(logits[order[start:end]].astype(np.float64), axis=1)
        p = np.exp(log_p)
        mean = p.mean(axis=0)
        inner = (p * np.where(p > 0, log_p, 0.0)).sum(axis=1).mean()
        scores.append(np.exp(inner - xlogy(mean, mean).sum()))
    return np.array(scores)


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """IS of the fakes, whole sample; the protocol's split form in ``details.splits``."""
    rows = inputs.fake_rows()
    score = inception_score(rows)
    rule, asked = SPLIT_RULES.get(inputs.protocol.name.partition(":")[0], SplitRule()), inputs.settings.splits
    splits = min(10, len(rows)) if asked is None else asked
    block = rule.block if asked is None else None
    if rule.chunks and splits <= len(rows):
        block = -(-len(rows) // splits)
    parts = split_scores(rows.to_array(), splits=splits, shuffle=rule.shuffle, block=block)
    spread = rule.ddof is not None and len(parts) > rule.ddof
    details: dict[str, object] = {
        "classes": rows.dimension,
        "splits": {
            "mean": float(parts.mean()),
            "std": float(parts.std(ddof=rule.ddof or 0)) if spread else None,
            "splits": len(parts),
            "shuffle": rule.shuffle,
            "seed": PEER_SEED if rule.shuffle else None,
            "ddof": rule.ddof,
            "block": block,
        },
    }
    result = build_result(
        inputs,
        "is",
        score.value,
        standard_error=score.standard_error,
        bias=score.value - score.corrected,
        method="delta",
        details=details,
        per_image={"is_influence_fake": score.value * (score.divergences - score.divergences.mean())},
    )
    return {"is": result}


def _probabilities(logits: FeatureRows) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for block in logits.blocks():
        log_p = log_softmax(block.astype(np.float64), axis=1)
        yield np.exp(log_p), log_p
