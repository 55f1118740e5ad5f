"""IND and 1-NN: can a classifier distinguish fakes from reals (Lopez-Paz & Oquab 2017)?

A fair coin decides whether a real or a fake image is shown, and the adversary guesses. Its advantage

    Adv = TPR + TNR - 1                        in [-1, 1] on held-out images, 0 for a blind guess

is at most the total variation between the two distributions. The adversary is a logistic regression on frozen features.
It is trained on one half of the images and tested on the other, and the reverse. The advantage is the mean of both
halves, with its sign. Its standard error is the mean of both halves' errors, which is an upper bound at any
correlation. Copies of one image, and other images that are known to belong together, stay in one half; the errors count
them as one observation. The held-out cross-entropy is a lower bound of the Jensen-Shannon divergence, as the
discriminator's value is in the game of Goodfellow et al. 2014:

    V(D, G) = E_real log D + E_fake log (1 - D) <= -log 4 + 2 JSD
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import expit
from scipy.stats import rankdata

from ganeval.errors import NotEnoughSamplesError
from ganeval.metrics.build_result import build_result
from ganeval.metrics.intervals import one_sided_quantile, variance_of_mean
from ganeval.metrics.types import MetricInputs
from ganeval.results import MetricResult, Reason
from ganeval.statistics.neighbours import nearest
from ganeval.statistics.searches import ProcessGroup

PENALTIES = (1.0, 1e-1, 1e-2, 1e-3)
PERMUTATIONS = 999
LEAST = 10  # held-out images of each kind in each half, for an interval
CERTAIN = 1e-4  # probabilities are clipped to [1e-4, 1 - 1e-4]: still an adversary, with a bounded loss
_SEED = 0  # of halves and permutations: part of the estimator
_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Game:
    """The result of the game.

    Attributes:
        advantage: measured on held-out images, with its sign.
        standard_error: standard error of ``advantage``. All standard errors are None if a half has fewer than ``LEAST``
            different images of a kind.
        jsd: the lower estimate of the Jensen-Shannon divergence, in nats; below 0 there is no evidence.
        gini: 2 AUC - 1, each half by itself.
        p_value: of the advantage, by permuting the labels of the images of one held-out half.
        scores_real: (m,) held-out log-odds of being fake.
        scores_fake: (n,).
    """

    advantage: float
    standard_error: float | None
    jsd: float
    jsd_error: float | None
    gini: float
    gini_error: float | None
    p_value: float
    scores_real: np.ndarray
    scores_fake: np.ndarray


def play(real: np.ndarray, fake: np.ndarray, *, groups: np.ndarray | None = None) -> Game:
    """Two halves, each judged by the classifier of the other.

    Args:
        groups: (m + n,) ids of what belongs together, reals first: stays in one half and is one observation; by default
            every image is by itself.

    Raises:
        NotEnoughSamplesError: fewer than two images of a kind in a half.

    Shape:
        (m, d), (n, d).
    """
    x = np.concatenate([real, fake])
    labels = np.concatenate([np.zeros(len(real)), np.ones(len(fake))])
    ids = np.arange(len(x)) if groups is None else groups
    half = _halves(len(x) if groups is None else groups)
    parts = [[(half == tested) & (labels == kind) for kind in (0, 1)] for tested in (0, 1)]
    sizes = [int(part.sum()) for pair in parts for part in pair]
    different = min(len(np.unique(ids[part])) for pair in parts for part in pair)
    if min(sizes) < 2:
        raise NotEnoughSamplesError(
            "the game needs at least 2 different images of each kind in each half; "
            f"found {min(sizes)}: too few images, or too many copies of one."
        )
    scores = np.empty(len(x))
    for tested in (0, 1):
        train = half != tested
        scores[~train] = _held_out_scores(x, labels, train)
    judged = [_judged(*(scores[part] for part in pair)) for pair in parts]

    def error(quantity: str, scale: float) -> float | None:
        if different < LEAST:
            return None
        pairs = [zip(getattr(one, quantity), pair, strict=True) for one, pair in zip(judged, parts, strict=True)]
        variances = [sum(variance_of_mean(values, ids[part]) for values, part in pair) for pair in pairs]
        return scale * float(np.mean(np.sqrt(variances)))

    return Game(
        advantage=float(np.mean([sum(v.mean() for v in one.right) - 1 for one in judged])),
        standard_error=error("right", 1.0),
        jsd=float(np.mean([np.log(2) + 0.5 * sum(v.mean() for v in one.logs) for one in judged])),
        jsd_error=error("logs", 0.5),
        gini=float(np.mean([2 * one.placements[1].mean() - 1 for one in judged])),
        gini_error=error("placements", 2.0),
        p_value=_permuted(scores[half == 0], labels[half == 0]),
        scores_real=scores[: len(real)],
        scores_fake=scores[len(real) :],
    )


def fit(x: np.ndarray, labels: np.ndarray, penalty: float, start: np.ndarray | None = None) -> np.ndarray:
    """Logistic regression, (d + 1,) with the constant last: both kinds weigh one half, plus ``penalty`` / 2 |w|^2."""
    signs = 2 * labels - 1
    weights = np.where(labels == 1, 0.5 / labels.sum(), 0.5 / (len(labels) - labels.sum()))

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = signs * (x @ w[:-1] + w[-1])
        pull = -weights * signs * expit(-margin)
        value = float(weights @ np.logaddexp(0, -margin)) + 0.5 * penalty * float(w[:-1] @ w[:-1])
        return value, np.append(x.T @ pull + penalty * w[:-1], pull.sum())

    first = np.zeros(x.shape[1] + 1) if start is None else start
    found: np.ndarray = minimize(objective, first, jac=True, method="L-BFGS-B", options={"maxiter": 60}).x
    return found


@dataclass(frozen=True, slots=True)
class NearestNeighbours:
    """Leave-one-out 1-NN: the share of images whose nearest other image is of the same kind.

    Of several that are equally near, as copies are, it is the share of them that are of the same kind.
    Near 1 the sets are apart, near one half they mix, and near 0 every fake sits on its real: copies.
    """

    accuracy_real: float
    accuracy_fake: float
    accuracy: float
    p_value: float


def one_nearest_neighbour(
    real: np.ndarray, fake: np.ndarray, *, device: torch.device | None = None, group: ProcessGroup | None = None
) -> NearestNeighbours:
    """Exact neighbours among both sets together, averaged over exact ties.

    The graph of neighbours does not depend on the labels, so the permutation test is exact. Copies are one point with a
    count: of a point that is there more than once the neighbours are its copies, of another one those of the nearest
    points.
    """
    pooled = np.concatenate([real, fake])
    labels = (np.arange(len(pooled)) >= len(real)).astype(np.float64)
    first, place, counts = _distinct(pooled)
    single = counts[place] == 1
    points = pooled if len(first) == len(pooled) else pooled[first]
    around = _nearest_points(points, counts, device, group) if len(first) > 1 else csr_array((1, 1))

    def same(kinds: np.ndarray) -> np.ndarray:
        fakes = np.bincount(place, kinds, len(first))
        share = np.where(single, (around @ fakes)[place], (fakes[place] - kinds) / np.maximum(counts[place] - 1, 1))
        found: np.ndarray = np.where(kinds == 1, share, 1 - share)
        return found

    observed = same(labels)
    random = np.random.default_rng(_SEED)
    least = observed.sum() * (1 - 1e-12)  # sums of the same shares in another order
    beaten = sum(same(random.permutation(labels)).sum() >= least for _ in range(PERMUTATIONS))
    return NearestNeighbours(
        float(observed[: len(real)].mean()),
        float(observed[len(real) :].mean()),
        float(observed.mean()),
        (1 + int(beaten)) / (1 + PERMUTATIONS),
    )


def _distinct(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the different points: the first row of each; for each row, which it is; and how many rows each has."""
    keys: dict[bytes, int] = {}
    place = np.empty(len(points), np.int64)
    first: list[int] = []
    for row, point in enumerate(points):
        key = hashlib.blake2b((point + 0.0).tobytes(), digest_size=16).digest()  # -0 is 0
        if key not in keys:
            keys[key] = len(first)
            first.append(row)
        place[row] = keys[key]
    return np.array(first), place, np.bincount(place)


def _nearest_points(
    points: np.ndarray, counts: np.ndarray, device: torch.device | None, group: ProcessGroup | None
) -> csr_array:
    """(p, p): in each row one over the number of images at the points nearest to it, at those points."""
    rows, columns = [], []
    pending, k = np.arange(len(points)), min(2, len(points) - 1)
    while len(pending):
        if len(pending) == len(points):
            found = nearest(points, k=k, device=device, group=group)
            distances, indices = found.distances, found.indices
        else:  # the nearest of a query is itself
            found = nearest(points, points[pending], k=k + 1, device=device, group=group)
            distances, indices = found.distances[:, 1:], found.indices[:, 1:]
        tied = distances == distances[:, :1]
        complete = ~tied[:, -1] | (k == len(points) - 1)
        i, j = np.nonzero(tied & complete[:, None])
        rows.append(pending[i])
        columns.append(indices[i, j])
        pending, k = pending[~complete], min(4 * k, len(points) - 1)
    row, column = np.concatenate(rows), np.concatenate(columns)
    images = np.bincount(row, counts[column], len(points))
    return csr_array((1 / images[row], (row, column)), shape=(len(points), len(points)))


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """IND: the advantage, with what follows from it about total variation and the Jensen-Shannon divergence."""
    real_rows, fake_rows = inputs.real_rows(), inputs.fake_rows()
    real, fake = real_rows.to_array(), fake_rows.to_array()
    assert inputs.real is not None
    sides = ((inputs.real, real_rows), (inputs.fake, fake_rows))
    groups = np.concatenate([rows.hashes if side.groups is None else side.groups for side, rows in sides])
    game = play(real, fake, groups=groups)
    neighbours = one_nearest_neighbour(real, fake, device=inputs.device, group=inputs.group)
    reason = None
    if game.standard_error is None:
        reason = Reason("too_few_in_half", needed=LEAST)
    elif game.standard_error == 0:
        reason = Reason("judged_alike")
    divergence_low = gini_low = None
    if game.jsd_error is not None and game.gini_error is not None:
        z = one_sided_quantile(inputs.level)
        divergence_low = game.jsd - z * game.jsd_error
        gini_low = 1 - float(np.sqrt(1 - min(1.0, max(0.0, game.gini - z * game.gini_error))))
    details: dict[str, object] = {
        "p_value": game.p_value,
        "jsd": game.jsd,
        "jsd_lower_bound": divergence_low,
        "jsd_largest": float(np.log(2)),
        "value_of_the_game": 2 * game.jsd - float(np.log(4)),
        "equilibrium": -float(np.log(4)),
        "gini": game.gini,
        "total_variation_lower_bound": gini_low,
        "lower_bounds": f"one-sided, {100 * inputs.level:g} %",
        "separable": game.advantage == 1.0,
        "one_nearest_neighbour": {
            "accuracy": neighbours.accuracy,
            "accuracy_real": neighbours.accuracy_real,
            "accuracy_fake": neighbours.accuracy_fake,
            "p_value": neighbours.p_value,
        },
    }
    result = build_result(
        inputs,
        "ind",
        game.advantage,
        standard_error=game.standard_error,
        method="two-fold",
        estimand="protocol",
        reason=reason or inputs.overlap(),
        details=details,
        settings={"adversary": "logistic", "folds": 2},
        by_group=True,
        per_image={"ind_score_real": game.scores_real, "ind_score_fake": game.scores_fake},
    )
    return {"ind": result}


def _halves(groups: int | np.ndarray) -> np.ndarray:
    """0 or 1 for each image; a group is never cut."""
    random = np.random.default_rng(_SEED)
    if isinstance(groups, int):
        return random.permutation(groups) % 2
    _, index = np.unique(groups, return_inverse=True)
    of_group: np.ndarray = random.permutation(int(index.max()) + 1) % 2
    return of_group[index]


def _held_out_scores(points: np.ndarray, kinds: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Standardise, choose the penalty on a quarter of the training half, fit on all of it; the others' scores.

    One copy in float64, of the training half: 0.8 GB for 50,000 + 50,000 images of 2048 features, on which a copy of
    all in float32 takes as much again.
    """
    rows = np.flatnonzero(train)
    inner = np.random.default_rng(_SEED).permutation(len(rows)) % 4 == 0
    rows = np.concatenate([rows[~inner], rows[inner]])  # so that both parts are views
    labels, shown = kinds[rows], int((~inner).sum())
    x = np.empty((len(rows), points.shape[1]))
    for at in range(0, len(rows), _BLOCK):
        x[at : at + _BLOCK] = points[rows[at : at + _BLOCK]]
    mean = x.mean(axis=0)
    x -= mean
    deviation = np.sqrt(np.einsum("ij,ij->j", x, x) / len(x))
    deviation[deviation == 0] = 1.0
    x /= deviation
    best, least, start = PENALTIES[0], np.inf, None
    if min(part.sum() for kind in (labels, 1 - labels) for part in (kind[:shown], kind[shown:])) >= 2:
        judged = labels[shown:]
        for penalty in PENALTIES:
            start = fit(x[:shown], labels[:shown], penalty, start)
            margin = (2 * judged - 1) * (x[shown:] @ start[:-1] + start[-1])
            losses = np.logaddexp(0, -margin)
            loss = losses[judged == 1].mean() + losses[judged == 0].mean()
            if loss < least:
                best, least = penalty, loss
    w = fit(x, labels, best)
    others = np.flatnonzero(~train)
    blocks = (points[others[at : at + _BLOCK]].astype(np.float64) for at in range(0, len(others), _BLOCK))
    return np.concatenate([(block - mean) / deviation @ w[:-1] + w[-1] for block in blocks])


@dataclass(frozen=True, slots=True)
class _Judged:
    """One held-out half, a value for each of its reals and each of its fakes.

    Attributes:
        right: whether it was classified correctly; one half where it was not classified.
        logs: the log of the probability of its kind.
        placements: the share of the other kind that it is on the right side of; either mean is the AUC.
    """

    right: tuple[np.ndarray, np.ndarray]
    logs: tuple[np.ndarray, np.ndarray]
    placements: tuple[np.ndarray, np.ndarray]


def _judged(on_real: np.ndarray, on_fake: np.ndarray) -> _Judged:
    m, n = len(on_real), len(on_fake)
    ranks = rankdata(np.concatenate([on_real, on_fake]))
    above_real = 1 - (ranks[:m] - rankdata(on_real)) / n  # share of fakes that score higher
    below_fake = (ranks[m:] - rankdata(on_fake)) / m
    log_real, log_fake = (np.log(np.clip(expit(s), CERTAIN, 1 - CERTAIN)) for s in (-on_real, on_fake))
    return _Judged(
        ((on_real < 0) + 0.5 * (on_real == 0), (on_fake > 0) + 0.5 * (on_fake == 0)),
        (log_real, log_fake),
        (above_real, below_fake),
    )


def _permuted(scores: np.ndarray, labels: np.ndarray) -> float:
    """The share of permutations of these labels that do as well: the classifier has never seen them."""
    guess = np.sign(scores)
    m, n = float((labels == 0).sum()), float((labels == 1).sum())
    if not m or not n:
        return 1.0

    def advantage(kinds: np.ndarray) -> float:
        return float((guess * kinds).sum() / n - (guess * (1 - kinds)).sum() / m)

    random = np.random.default_rng(_SEED)
    observed = advantage(labels)
    beaten = sum(advantage(random.permutation(labels)) >= observed - 1e-12 for _ in range(PERMUTATIONS))
    return (1 + beaten) / (1 + PERMUTATIONS)
