"""Precision, recall, density, coverage: how the fakes lie among the reals, and the reals among the fakes.

With r_k(z) the distance of z from its k-th nearest neighbour in its own set, reals y_i (m) and fakes x_j (n)

    precision = mean_j 1[some y_i has |x_j - y_i| <= r_k(y_i)]      (Kynkaanniemi et al. 2019; k = 3)
    recall    = mean_i 1[some x_j has |y_i - x_j| <= r_k(x_j)]
    density   = (1 / kn) sum_j sum_i 1[|x_j - y_i| < r_k(y_i)]      (Naeem et al. 2020; k = 5)
    coverage  = mean_i 1[some x_j has |x_j - y_i| < r_k(y_i)]

and, from the same searches, with C' = mean_j 1[some y_i has |y_i - x_j| <= r_k(x_j)] and C its mirror at k = 3,

    symmetric precision = min(precision, C'),   symmetric recall = min(recall, C)    (Khayatkhoei & AbdAlmageed 2023)

and the forms of ``ganeval.metrics.clipped``, ``ganeval.metrics.realism`` and ``ganeval.metrics.rarity``; these are in
the details.

All four drift with m and n, so their intervals are of the value at these numbers (estimand ``protocol``). Standard
errors: six random partitions of both sets into four disjoint blocks, the mean variance between blocks over four;
measured for the symmetric and clipped forms over four settings of 800 + 800 images, 0.88 to 1.17 of the truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from ganeval.errors import NotEnoughSamplesError
from ganeval.metrics.build_result import build_result
from ganeval.metrics.clipped import clipped_coverage, clipped_density, clipped_radii
from ganeval.metrics.intervals import quantile, symmetric_interval
from ganeval.metrics.rarity import rarity
from ganeval.metrics.rarity import summary as summary_of_rarity
from ganeval.metrics.realism import realism, summary
from ganeval.metrics.registry import SHARE
from ganeval.metrics.types import MetricInputs
from ganeval.results import MetricResult, Reason
from ganeval.statistics.depth import held_by_others
from ganeval.statistics.neighbours import Bounds, Family, Radii, Reach, count_pairs
from ganeval.statistics.searches import ProcessGroup

DEFAULT_K = {"precision": 3, "recall": 3, "density": 5, "coverage": 5}
STRICT = {"precision": False, "recall": False, "density": True, "coverage": True}
FORMS = {"precision": "symmetric", "recall": "symmetric", "density": "clipped", "coverage": "clipped"}
PARTITIONS, BLOCKS = 6, 4
NEAR = 0.1  # of the reals' median distance to the nearest other real: nearer is a near-duplicate
REPEATED = 0.01  # share of near-duplicates, beyond twice that of the reals, from which on there is a warning
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
        gaps: (m,) and (n,) squared distances of reals and of fakes from the nearest of their own set, of the same form.
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
            self,
            fakes_near=self.fakes_near[real],
            reals_around=self.reals_around[fake],
            fakes_around=self.fakes_around[real],
            fakes_close=self.fakes_close[real],
            reals_close=self.reals_close[fake],
            clipped=None if self.clipped is None else (self.clipped[0][fake], self.clipped[1][real]),
        )


def neighbourhoods(
    real: np.ndarray,
    fake: np.ndarray,
    *,
    k: Mapping[str, int] = DEFAULT_K,
    strict: bool | None = None,
    radius: float | None = None,
    device: torch.device | None = None,
    group: ProcessGroup | None = None,
) -> Neighbourhoods:
    """Search each set once, then all pairs once.

    Args:
        k: by metric; precision and recall share theirs, density and coverage theirs.
        strict: leave out the border of balls; None: each metric's own rule.
        radius: fixed, of all balls, in place of the k-th neighbour.
        device: an accelerator that computes the products; None: the CPU.
        group: the processes that share the searches; None: this process alone.

    Shape:
        (m, d), (n, d) float32.

    Raises:
        NotEnoughSamplesError: a set has at most k images.
    """
    return _searched(real, fake, (), k=k, strict=strict, radius=radius, device=device, group=group)[0]


def with_errors(real: np.ndarray, fake: np.ndarray, **options: Any) -> tuple[Neighbourhoods, dict[str, float]]:
    """``neighbourhoods``, and standard errors from repeated disjoint blocks, with ``BLOCKS`` - 1 degrees of freedom.

    A partition cuts both sets into four pairs of blocks; the variance between the blocks' values, over four, estimates
    the variance of the whole value. Six partitions are averaged. The k-th neighbour within a block is among the near
    neighbours in the whole set, and its ball's pairs are a part of all pairs: nothing is searched again.

    Args:
        options: those of ``neighbourhoods``.
    """
    whole, blocks = _searched(real, fake, _partitions(len(real), len(fake)), **options)
    return whole, _errors(blocks)


def _errors(partitions: list[list[Neighbourhoods]]) -> dict[str, float]:
    variances: dict[str, list[float]] = {}
    for blocks in partitions:
        values = [block.values() | block.others() for block in blocks]
        for name in values[0]:
            variances.setdefault(name, []).append(float(np.var([v[name] for v in values], ddof=1)) / BLOCKS)
    return {name: float(np.sqrt(np.mean(v))) for name, v in variances.items()}


_Partition = tuple[np.ndarray, np.ndarray]  # the block of each real, and of each fake


def _partitions(
    m: int, n: int, groups: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
) -> tuple[_Partition, ...]:
    """Of m reals and n fakes; a group is never cut."""
    random = np.random.default_rng(_SEED)
    units = [
        np.unique(np.arange(k) if ids is None else ids, return_inverse=True)[1]
        for k, ids in zip((m, n), groups, strict=True)
    ]
    partitions = []
    for _ in range(PARTITIONS):
        both = []
        for unit in units:
            block_of = np.empty(unit.max() + 1, np.int8)
            for block, some in enumerate(np.array_split(random.permutation(len(block_of)), BLOCKS)):
                block_of[some] = block
            both.append(block_of[unit])
        partitions.append((both[0], both[1]))
    return tuple(partitions)


@dataclass(frozen=True, slots=True)
class _Search:
    """The balls of both sets, of the k-th neighbour or of a fixed radius."""

    real: np.ndarray
    fake: np.ndarray
    k_pr: int
    k_dc: int
    strict: bool | None
    radius: float | None
    reach: tuple[Reach, Reach] | None  # of the reals and of the fakes; None where the radius is fixed

    def families(self, partition: _Partition | None) -> tuple[list[Family], np.ndarray | None]:
        """The balls of precision, density and recall, and the clipped ones with how many hold each other real."""
        of_real, of_fake = partition or (None, None)
        if self.reach is None:
            fixed = [np.full(len(rows), (self.radius or 0.0) ** 2) for rows in (self.real, self.fake)]
            bounds: tuple[Bounds, Bounds, Bounds] = fixed[0], fixed[0], fixed[1]
        else:
            reals, fakes = self.reach
            bounds = reals.kth(self.k_pr, of_real), reals.kth(self.k_dc, of_real), fakes.kth(self.k_pr, of_fake)
        rules = [STRICT[name] if self.strict is None else self.strict for name in ("precision", "density", "recall")]
        found = [
            Family(bounds[0], None, rules[0], partition),
            Family(bounds[1], None, rules[1], partition),
            Family(None, bounds[2], rules[2], partition),
        ]
        if self.reach is None or not isinstance(bounds[1], Radii):
            return found, None
        clipped = clipped_radii(bounds[1].exact(np.arange(len(self.real))), of_real)
        return [*found, Family(clipped, None, blocks=partition)], held_by_others(self.reach[0], clipped, of_real)

    def with_radii(self, found: Neighbourhoods) -> Neighbourhoods:
        """The same with what is known of the balls of the whole sets."""
        if self.reach is None:
            return found
        reals, fakes = self.reach
        all_real, all_fake = np.arange(len(self.real)), np.arange(len(self.fake))
        of_density = reals.kth(self.k_dc).empty()
        empty = {"precision": reals.kth(self.k_pr).empty(), "recall": fakes.kth(self.k_pr).empty()}
        return replace(
            found,
            empty={**empty, "density": of_density, "coverage": of_density},
            real_radii=reals.kth(self.k_pr).exact(all_real),
            gaps=(reals.kth(1).exact(all_real), fakes.kth(1).exact(all_fake)),
        )


def _searched(
    real: np.ndarray,
    fake: np.ndarray,
    partitions: tuple[_Partition, ...],
    *,
    k: Mapping[str, int] = DEFAULT_K,
    strict: bool | None = None,
    radius: float | None = None,
    device: torch.device | None = None,
    group: ProcessGroup | None = None,
) -> tuple[Neighbourhoods, list[list[Neighbourhoods]]]:
    """Of the whole sets, and of every block of every partition."""
    k_pr, k_dc = k["precision"], k["density"]
    parts = BLOCKS if partitions else 1
    reach = None
    if radius is None:
        needed = {"real": max(k_pr, k_dc), "fake": k_pr}
        for (name, most), points in zip(needed.items(), (real, fake), strict=True):
            if len(points) // parts <= most:
                raise NotEnoughSamplesError(
                    f"{most} nearest neighbours need more than {parts * most + parts - 1} {name} images; found "
                    f"{len(points)}. Give more images, or ask for fewer neighbours."
                )
        reals = Reach(real, needed["real"], blocks=parts, device=device, group=group)
        reach = reals, Reach(fake, needed["fake"], blocks=parts, device=device, group=group)
    search = _Search(real, fake, k_pr, k_dc, strict, radius, reach)
    asked = [search.families(partition) for partition in (None, *partitions)]
    every = tuple(family for families, _ in asked for family in families)
    counted = iter(count_pairs(real, fake, every, device=device, group=group))
    found = []
    for families, among_reals in asked:
        precision, density, recall, *rest = (next(counted) for _ in families)
        found.append(
            Neighbourhoods(
                fakes_near=density.around,
                reals_around=precision.within,
                fakes_around=recall.within,
                density_k=k_dc,
                fakes_close=precision.around,
                reals_close=recall.around,
                clipped=None if among_reals is None else (rest[0].within, among_reals),
            )
        )
    blocks = [
        [whole.block(of_real == block, of_fake == block) for block in range(BLOCKS)]
        for whole, (of_real, of_fake) in zip(found[1:], partitions, strict=True)
    ]
    return search.with_radii(found[0]), blocks


def null_coverage(m: int, n: int, k: int) -> float:
    """Expected coverage of equal distributions of any kind and dimension: 1 - prod_{i=1..k} (m - i) / (n + m - i).

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
    assert inputs.real is not None
    partitions = _partitions(len(real), len(fake), (inputs.real.groups, inputs.fake.groups))
    smallest = min(int(np.bincount(side, minlength=BLOCKS).min()) for sides in partitions for side in sides)
    if reason is None and smallest <= 2 * max(k.values()):
        reason = Reason("too_few_in_block", n=smallest, neighbours=max(k.values()))
    found, blocks = _searched(
        real,
        fake,
        partitions if reason is None else (),
        k=k,
        strict=chosen.strict,
        radius=chosen.radius,
        device=inputs.device,
        group=inputs.group,
    )
    errors = _errors(blocks)
    values, others = found.values(), found.others()
    warnings = [*_other_numbers(len(real), len(fake)), *_near_duplicates(found)]
    results = {}
    for name in sorted(inputs.wanted):
        details: dict[str, object] = {"k": k[name]}
        if name in ("coverage", "density") and chosen.radius is None:
            details["null"] = null_coverage(len(real), len(fake), k[name]) if name == "coverage" else 1.0
        if (other := f"{FORMS[name]} {name}") in others:
            details[FORMS[name]] = _form(others[other], errors.get(other, 0.0), inputs.level)
        per_image: dict[str, np.ndarray] = {}
        if name == "precision":
            per_image["inside_real_balls_fake"] = (found.reals_around > 0).astype(np.float64)
        if name == "precision" and found.real_radii is not None:
            _add_scores(inputs, real, fake, found.real_radii, per_image, details)
        if name == "coverage":
            per_image["covered_real"] = (found.fakes_near > 0).astype(np.float64)
        results[name] = build_result(
            inputs,
            name,
            values[name],
            standard_error=errors.get(name),
            method="blocks",
            estimand="protocol",
            degrees_of_freedom=BLOCKS - 1,
            reason=reason,
            by_group=True,
            details=details,
            per_image=per_image,
            settings={
                # of a fixed radius density still divides by k
                "k": k[name] if chosen.radius is None or name == "density" else None,
                "radius": chosen.radius,
                "strict": STRICT[name] if chosen.strict is None else chosen.strict,
            },
            warnings=(*_empty_balls(name, found, k[name]), *warnings),
        )
    return results


def _add_scores(
    inputs: MetricInputs,
    real: np.ndarray,
    fake: np.ndarray,
    squared_radii: np.ndarray,
    per_image: dict[str, np.ndarray],
    details: dict[str, object],
) -> None:
    """Add realism and, on request, rarity of each fake, and their summaries."""
    values = realism(real, fake, squared_radii=squared_radii, device=inputs.device)
    per_image["realism_fake"], details["realism"] = values, summary(values)
    if inputs.settings.rarity:
        values = rarity(real, fake, squared_radii=squared_radii, device=inputs.device)
        per_image["rarity_fake"], details["rarity"] = values, summary_of_rarity(values)


def _form(value: float, error: float, level: float) -> dict[str, object]:
    """A symmetric or clipped form with its interval."""
    half = quantile(level, BLOCKS - 1) * error
    ends = symmetric_interval(value, half, level, "blocks", "protocol", within=SHARE)
    return {
        "value": value,
        "standard_error": error if ends else None,
        "interval": [ends.low, ends.high] if ends else None,
    }


def _other_numbers(m: int, n: int) -> list[str]:
    if m == n:
        return []
    return ["precision, recall, density and coverage depend on the numbers of images, which differ here"]


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
