"""Precision, recall, density, coverage: how the fakes lie among the reals, and the reals among the fakes.

With r_k(z) the distance of z from its k-th nearest neighbour in its own set, reals y_i (m) and fakes x_j (n)

    precision = mean_j 1[some y_i has |x_j - y_i| <= r_k(y_i)]      (Kynkaanniemi et al. 2019; k = 3)
    recall    = mean_i 1[some x_j has |y_i - x_j| <= r_k(x_j)]
    density   = (1 / kn) sum_j sum_i 1[|x_j - y_i| < r_k(y_i)]      (Naeem et al. 2020; k = 5)
    coverage  = mean_i 1[some x_j has |x_j - y_i| < r_k(y_i)]

and, from the same searches, with C' = mean_j 1[some y_i has |y_i - x_j| <= r_k(x_j)] and C its mirror at k = 3,

    symmetric precision = min(precision, C'),   symmetric recall = min(recall, C)    (Khayatkhoei & AbdAlmageed 2023)

and the forms of ``ganeval.metrics.clipped`` and ``ganeval.metrics.realism``; these stand in the details of the four.

All four drift with m and n, so their intervals are of the value at these numbers (estimand ``protocol``). Standard
errors: six random partitions of both sets into four disjoint blocks, the mean variance between blocks over four;
measured for the symmetric and clipped forms over four settings of 800 + 800 images, 0.88 to 1.17 of the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from ganeval.errors import NotEnoughSamplesError
from ganeval.metrics.build_result import build_result
from ganeval.metrics.clipped import clipped_coverage, clipped_density, clipped_radii
from ganeval.metrics.intervals import quantile, symmetric_interval
from ganeval.metrics.realism import realism, summary
from ganeval.metrics.registry import SHARE
from ganeval.metrics.types import MetricInputs
from ganeval.results import MetricResult, Reason
from ganeval.statistics.depth import held_by_others
from ganeval.statistics.neighbours import Bounds, Family, Radii, Reach, count_pairs

DEFAULT_K = {"precision": 3, "recall": 3, "density": 5, "coverage": 5}
STRICT = {"precision": False, "recall": False, "density": True, "coverage": True}
FORMS = {"precision": "symmetric", "recall": "symmetric", "density": "clipped", "coverage": "clipped"}
PARTITIONS, BLOCKS = 6, 4
NEAR = 0.1  # of the reals' median distance to the nearest other real: nearer is a near-duplicate
REPEATED = 0.01  # share of near-duplicates, beyond twice that of the reals, from which on it is said
_SEED = 0  # of the partitions: part of the estimator


@dataclass(frozen=True, slots=True)
class Neighbourhoods:
    """Counts from which all four values follow.

    Attributes:
        fakes_near: (m,) fakes in the ball of each real, by rule of density and coverage.
        reals_around: (n,) balls of reals that hold each fake, by rule of precision.
        fakes_around: (m,) balls of fakes that hold each real, by rule of recall.
        density_k: of the balls in ``fakes_near``.
        fakes_close: (m,) fakes in the ball of each real, by rule of precision.
        reals_close: (n,) reals in the ball of each fake, by rule of recall.
        clipped: clipped balls of reals that hold each fake (n,), and each other real (m,); None where the radius is
            fixed.
        empty: number of balls of radius 0 that each metric uses, by its name; empty where the radius is fixed.
        real_radii: (m,) squared, of precision; of the whole sets only, and None where the radius is fixed.
        gaps: (m,) and (n,) squared distances of reals and of fakes from the nearest of their own; likewise.
    """

    fakes_near: np.ndarray
    reals_around: np.ndarray
    fakes_around: np.ndarray
    density_k: int
    fakes_close: np.ndarray
    reals_close: np.ndarray
    clipped: tuple[np.ndarray, np.ndarray] | None = None
    empty: Mapping[str, int] = field(default_factory=dict)
    real_radii: np.ndarray | None = None
    gaps: tuple[np.ndarray, np.ndarray] | None = None

    def values(self) -> dict[str, float]:
        n = len(self.reals_around)
        return {
            "precision": float(np.mean(self.reals_around > 0)),
            "recall": float(np.mean(self.fakes_around > 0)),
            "density": float(self.fakes_near.sum() / (self.density_k * n)),
            "coverage": float(np.mean(self.fakes_near > 0)),
        }

    def others(self) -> dict[str, float]:
        """The symmetric and clipped forms, each for the details of the metric whose name it bears."""
        values = self.values()
        found = {
            "symmetric precision": min(values["precision"], float(np.mean(self.reals_close > 0))),
            "symmetric recall": min(values["recall"], float(np.mean(self.fakes_close > 0))),
        }
        if self.clipped is not None:
            found["clipped density"] = clipped_density(*self.clipped, self.density_k)
            found["clipped coverage"] = clipped_coverage(self.fakes_near, len(self.reals_around), self.density_k)
        return found

    def block(self, real: np.ndarray, fake: np.ndarray) -> Neighbourhoods:
        """Of some reals and some fakes, where all pairs that were counted are within such blocks."""
        return replace(
            self, fakes_near=self.fakes_near[real], reals_around=self.reals_around[fake],
            fakes_around=self.fakes_around[real], fakes_close=self.fakes_close[real],
            reals_close=self.reals_close[fake],
            clipped=None if self.clipped is None else (self.clipped[0][fake], self.clipped[1][real]),
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
        values = [block.values() | block.others() for block in blocks]
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

    among_reals: list[np.ndarray] = []

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
        found = [Family(*bounds, strict=rule, blocks=partition) for bounds, rule in zip(balls, rules, strict=True)]
        if isinstance(real_dc, Radii):
            clipped = clipped_radii(real_dc.exact(np.arange(len(real))), of_real)
            among_reals.append(held_by_others(around_real, clipped, of_real))
            found.append(Family(clipped, None, blocks=partition))
        return tuple(found)

    groups = [families(None), *(families(partition) for partition in partitions)]
    counted = iter(count_pairs(real, fake, tuple(family for group in groups for family in group), device=device))
    found = []
    for i, group in enumerate(groups):
        precision, density, recall, *rest = (next(counted) for _ in group)
        clipped = (rest[0].within, among_reals[i]) if rest else None
        found.append(
            Neighbourhoods(
                density.around, precision.within, recall.within, k_dc, precision.around, recall.around, clipped
            )
        )
    if radius is None:
        of_density = around_real.kth(k_dc).empty()
        empty = {
            "precision": around_real.kth(k_pr).empty(), "recall": around_fake.kth(k_pr).empty(),
            "density": of_density, "coverage": of_density,
        }  # fmt: skip
        all_real, all_fake = np.arange(len(real)), np.arange(len(fake))
        found[0] = replace(
            found[0], empty=empty, real_radii=around_real.kth(k_pr).exact(all_real),
            gaps=(around_real.kth(1).exact(all_real), around_fake.kth(1).exact(all_fake)),
        )  # fmt: skip
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
    """Those of the four values that are wanted, from the same searches."""
    real, fake = inputs.real_rows().to_array(), inputs.fake_rows().to_array()
    chosen = inputs.settings
    k = {name: chosen.neighbours or default for name, default in DEFAULT_K.items()}
    if not inputs.wanted & {"density", "coverage"}:  # then their larger k asks nothing of these sets
        k |= {"density": k["precision"], "coverage": k["precision"]}
    reason = inputs.overlap()
    smallest = min(len(real), len(fake)) // BLOCKS
    if reason is None and smallest <= 2 * max(k.values()):
        reason = Reason("too_few_in_block", n=smallest, neighbours=max(k.values()))
    partitions = _partitions(len(real), len(fake)) if reason is None else ()
    found, blocks = _searched(real, fake, k, chosen.strict, chosen.radius, inputs.device, partitions)
    errors = _errors(blocks)
    values, others = found.values(), found.others()
    warnings: list[str] = []
    if len(real) != len(fake):
        warnings.append("precision, recall, density and coverage depend on the numbers of images, which differ here")
    warnings += _near_duplicates(found)
    half = quantile(inputs.level, BLOCKS - 1)
    results = {}
    for name in sorted(inputs.wanted):
        details: dict[str, object] = {"k": k[name]}
        if name == "coverage" and chosen.radius is None:
            details["null"] = null_coverage(len(real), len(fake), k[name])
        if name == "density" and chosen.radius is None:
            details["null"] = 1.0
        if (other := f"{FORMS[name]} {name}") in others:
            form, error = others[other], errors.get(other, 0.0)
            ends = symmetric_interval(form, half * error, inputs.level, "blocks", "protocol", within=SHARE)
            details[FORMS[name]] = {
                "value": form, "standard_error": error if ends else None,
                "interval": [ends.low, ends.high] if ends else None,
            }  # fmt: skip
        per_image: dict[str, np.ndarray] = {}
        if name == "precision":
            per_image = {"inside_real_balls_fake": (found.reals_around > 0).astype(np.float64)}
            if found.real_radii is not None:
                per_image["realism_fake"] = realism(real, fake, squared_radii=found.real_radii, device=inputs.device)
                details["realism"] = summary(per_image["realism_fake"])
        if name == "coverage":
            per_image = {"covered_real": (found.fakes_near > 0).astype(np.float64)}
        results[name] = build_result(
        inputs,
            name, values[name], standard_error=errors.get(name), method="blocks", estimand="protocol",
            degrees_of_freedom=BLOCKS - 1, reason=reason, details=details, per_image=per_image,
            settings={
                # of a fixed radius density still divides by k
                "k": k[name] if chosen.radius is None or name == "density" else None, "radius": chosen.radius,
                "strict": STRICT[name] if chosen.strict is None else chosen.strict,
            },
            warnings=(*_empty_balls(name, found, k[name]), *warnings),
        )  # fmt: skip
    return results


def _empty_balls(name: str, found: Neighbourhoods, k: int) -> list[str]:
    """A warning where balls that this metric uses have radius 0: they hold nothing but copies of their centre."""
    empty = found.empty.get(name, 0)
    if not empty:
        return []
    side, n = ("fake", len(found.reals_around)) if name == "recall" else ("real", len(found.fakes_near))
    return [
        f"{name}: {empty} of {n} {side} images have {k} or more exact copies: their balls (k = {k}) have radius 0 and "
        "hold no other image"
    ]


def _near_duplicates(found: Neighbourhoods) -> list[str]:
    """Fakes that nearly repeat another one, where they do so more than the reals."""
    if found.gaps is None:
        return []
    limit = NEAR**2 * float(np.median(found.gaps[0]))
    (reals, m), (fakes, n) = ((int((gaps <= limit).sum()), len(gaps)) for gaps in found.gaps)
    if fakes / n <= 2 * reals / m + REPEATED:
        return []
    return [f"{fakes} of {n} fake images nearly repeat another one ({reals} of {m} real images do): collapse"]
