"""Precision, recall, density, coverage: how the fakes lie among the reals, and the reals among the fakes.

With r_k(z) the distance of z from its k-th nearest neighbour in its own set, reals y_i (m) and fakes x_j (n)

    precision = mean_j 1[some y_i has |x_j - y_i| <= r_k(y_i)]      (Kynkaanniemi et al. 2019; k = 3)
    recall    = mean_i 1[some x_j has |y_i - x_j| <= r_k(x_j)]
    density   = (1 / kn) sum_j sum_i 1[|x_j - y_i| < r_k(y_i)]      (Naeem et al. 2020; k = 5)
    coverage  = mean_i 1[some x_j has |x_j - y_i| < r_k(y_i)]

All four drift with m and n, so their intervals are of the value at these numbers (estimand ``protocol``). Standard
errors: six random partitions of both sets into four disjoint blocks, the mean variance between blocks over four.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from ganeval.errors import NotEnoughSamplesError
from ganeval.metrics.inputs import MetricInputs
from ganeval.results import MetricResult
from ganeval.statistics.neighbours import Bounds, Family, Reach, count_pairs

DEFAULT_K = {"precision": 3, "recall": 3, "density": 5, "coverage": 5}
STRICT = {"precision": False, "recall": False, "density": True, "coverage": True}
PARTITIONS, BLOCKS = 6, 4
_SEED = 0  # of the partitions: part of the estimator


@dataclass(frozen=True, slots=True)
class Neighbourhoods:
    """Counts from which all four values follow.

    Attributes:
        fakes_near: (m,) fakes in the ball of each real, by rule of density and coverage.
        reals_around: (n,) balls of reals that hold each fake, by rule of precision.
        fakes_around: (m,) balls of fakes that hold each real, by rule of recall.
        density_k: of the balls in ``fakes_near``.
        empty: balls of radius 0, of reals and of fakes.
    """

    fakes_near: np.ndarray
    reals_around: np.ndarray
    fakes_around: np.ndarray
    density_k: int
    empty: tuple[int, int]

    def values(self) -> dict[str, float]:
        n = len(self.reals_around)
        return {
            "precision": float(np.mean(self.reals_around > 0)),
            "recall": float(np.mean(self.fakes_around > 0)),
            "density": float(self.fakes_near.sum() / (self.density_k * n)),
            "coverage": float(np.mean(self.fakes_near > 0)),
        }

    def block(self, real: np.ndarray, fake: np.ndarray) -> Neighbourhoods:
        """Of some reals and some fakes, where all pairs that were counted are within such blocks."""
        return replace(
            self, fakes_near=self.fakes_near[real], reals_around=self.reals_around[fake],
            fakes_around=self.fakes_around[real],
        )  # fmt: skip


def neighbourhoods(
    real: np.ndarray, fake: np.ndarray, *, k: Mapping[str, int] = DEFAULT_K, strict: bool | None = None,
    radius: float | None = None, device: torch.device | None = None,
) -> Neighbourhoods:  # fmt: skip
    """Search each set once, then all pairs once.

    Args:
        k: by metric; precision and recall share theirs, density and coverage theirs.
        strict: leave out the border of balls; None: each metric's own rule.
        radius: fixed, of all balls, in place of the k-th neighbour.
        device: an accelerator that does the products; None: the CPU.

    Shape:
        (m, d), (n, d) float32.

    Raises:
        NotEnoughSamplesError: a set has not more than k images.
    """
    return _searched(real, fake, k, strict, radius, device, ())[0]


def with_errors(
    real: np.ndarray, fake: np.ndarray, *, k: Mapping[str, int] = DEFAULT_K, strict: bool | None = None,
    radius: float | None = None, device: torch.device | None = None,
) -> tuple[Neighbourhoods, dict[str, float]]:  # fmt: skip
    """``neighbourhoods``, and standard errors from repeated disjoint blocks, with ``BLOCKS`` - 1 degrees of freedom.

    A partition cuts both sets into four pairs of blocks; the variance between the blocks' values, over four, estimates
    the variance of the whole value. Six partitions are averaged. The k-th neighbour within a block is among the near
    neighbours in the whole set, and its ball's pairs are a part of all pairs: nothing is searched again.
    """
    whole, blocks = _searched(real, fake, k, strict, radius, device, _partitions(len(real), len(fake)))
    return whole, _errors(blocks)


def _errors(partitions: list[list[Neighbourhoods]]) -> dict[str, float]:
    variances: dict[str, list[float]] = {}
    for blocks in partitions:
        values = [block.values() for block in blocks]
        for name in values[0]:
            variances.setdefault(name, []).append(float(np.var([v[name] for v in values], ddof=1)) / BLOCKS)
    return {name: float(np.sqrt(np.mean(v))) for name, v in variances.items()}


_Partition = tuple[np.ndarray, np.ndarray]  # the block of each real, and of each fake


def _partitions(m: int, n: int) -> tuple[_Partition, ...]:
    random = np.random.default_rng(_SEED)
    partitions = []
    for _ in range(PARTITIONS):
        both = np.empty(m, np.int8), np.empty(n, np.int8)
        for labels in both:
            for block, rows in enumerate(np.array_split(random.permutation(len(labels)), BLOCKS)):
                labels[rows] = block
        partitions.append(both)
    return tuple(partitions)


def _searched(
    real: np.ndarray, fake: np.ndarray, k: Mapping[str, int], strict: bool | None, radius: float | None,
    device: torch.device | None, partitions: tuple[_Partition, ...],
) -> tuple[Neighbourhoods, list[list[Neighbourhoods]]]:  # fmt: skip
    """Of the whole sets, and of every block of every partition."""
    k_pr, k_dc = k["precision"], k["density"]
    most = max(k_pr, k_dc)
    parts = BLOCKS if partitions else 1
    for name, points in (("real", real), ("fake", fake)):
        needed = most if name == "real" else k_pr
        if radius is None and len(points) // parts <= needed:
            raise NotEnoughSamplesError(
                f"{needed} nearest neighbours need more than {parts * needed + parts - 1} {name} images; found "
                f"{len(points)}. Give more images, or ask for fewer neighbours."
            )
    if radius is None:
        around_real = Reach(real, most, blocks=parts, device=device)
        around_fake = Reach(fake, k_pr, blocks=parts, device=device)
    rules = (STRICT["precision"], STRICT["density"], STRICT["recall"]) if strict is None else (strict,) * 3

    def families(partition: _Partition | None) -> tuple[Family, ...]:
        of_real, of_fake = partition or (None, None)
        real_pr: Bounds
        real_dc: Bounds
        fake_pr: Bounds
        if radius is None:
            real_pr, real_dc = around_real.kth(k_pr, of_real), around_real.kth(k_dc, of_real)
            fake_pr = around_fake.kth(k_pr, of_fake)
        else:
            real_pr = real_dc = np.full(len(real), radius**2)
            fake_pr = np.full(len(fake), radius**2)
        balls = ((real_pr, None), (real_dc, None), (None, fake_pr))
        return tuple(Family(*bounds, strict=rule, blocks=partition) for bounds, rule in zip(balls, rules, strict=True))

    groups = [families(None), *(families(partition) for partition in partitions)]
    counted = iter(count_pairs(real, fake, tuple(family for group in groups for family in group), device=device))
    found = []
    for group in groups:
        precision, density, recall = (next(counted) for _ in group)
        found.append(Neighbourhoods(density.around, precision.within, recall.within, k_dc, (0, 0)))
    if radius is None:
        empty = (around_real.kth(k_dc).empty(), around_fake.kth(k_pr).empty())
        found[0] = replace(found[0], empty=empty)
    blocks = [
        [whole.block(of_real == block, of_fake == block) for block in range(BLOCKS)]
        for whole, (of_real, of_fake) in zip(found[1:], partitions, strict=True)
    ]
    return found[0], blocks


def null_coverage(m: int, n: int, k: int) -> float:
    """Expected coverage of equal laws, whatever they are and in any dimension: 1 - prod_{i=1..k} (m - i) / (n + m - i).

    >>> round(null_coverage(200, 200, 5), 4)
    0.9699
    """
    i = np.arange(1, k + 1)
    return 1.0 - float(np.prod((m - i) / (n + m - i)))


def measure(inputs: MetricInputs) -> dict[str, MetricResult]:
    """The four values that are wanted, from the same searches."""
    real, fake = inputs.real_rows().to_array(), inputs.fake_rows().to_array()
    chosen = inputs.settings
    k = {name: chosen.neighbours or default for name, default in DEFAULT_K.items()}
    reason = inputs.overlap()
    smallest = min(len(real), len(fake)) // BLOCKS
    if reason is None and smallest <= 2 * max(k.values()):
        reason = f"blocks of {smallest} images are too small for {max(k.values())} neighbours"
    partitions = _partitions(len(real), len(fake)) if reason is None else ()
    found, blocks = _searched(real, fake, k, chosen.strict, chosen.radius, inputs.device, partitions)
    errors = _errors(blocks)
    values = found.values()
    warnings: list[str] = []
    for side, empty in zip(("real", "fake"), found.empty, strict=True):
        if empty:
            warnings.append(f"{empty} {side} images have so many exact copies that their ball has radius 0")
    if len(real) != len(fake):
        warnings.append("precision, recall, density and coverage depend on the numbers of images, which differ here")
    results = {}
    for name in sorted(inputs.wanted):
        details: dict[str, object] = {"k": k[name]}
        if name == "coverage" and chosen.radius is None:
            details["null"] = null_coverage(len(real), len(fake), k[name])
        if name == "density" and chosen.radius is None:
            details["null"] = 1.0
        per_image: dict[str, np.ndarray] = {}
        if name == "precision":
            per_image = {"inside_real_balls_fake": (found.reals_around > 0).astype(np.float64)}
        if name == "coverage":
            per_image = {"covered_real": (found.fakes_near > 0).astype(np.float64)}
        results[name] = inputs.result(
            name, values[name], standard_error=errors.get(name), method="blocks", estimand="protocol",
            degrees_of_freedom=BLOCKS - 1, reason=reason, details=details, per_image=per_image,
            settings={
                "k": None if chosen.radius is not None else k[name], "radius": chosen.radius,
                "strict": STRICT[name] if chosen.strict is None else chosen.strict,
            },
            warnings=tuple(warnings),
        )  # fmt: skip
    return results
