"""Perceptual path length (Karras et al. 2019): how far the image moves, per step, on a path between two latents.

    PPL = E over z0, z1, t of  d(G(p(t)), G(p(t + eps))) / eps^2

with a squared perceptual distance d. In ``z`` p is the great circle between the latents (slerp), in ``w`` the line
between what the generator's mapping makes of them (lerp); t is uniform on (0, 1) (``full``) or 0 (``end``). As in
StyleGAN's scripts, distances below the 1st percentile (the order statistic at or below it) and above the 99th (at or
above it) are dropped. The error of what is left is that of a trimmed mean,

    SE = sd(w) / ((1 - 2 * 0.01) sqrt(n)),     w: all n distances, the dropped ones moved to the nearest kept one,

because sd(kept) / sqrt(kept) forgets that the ends are random too, and is too small (Tukey & McLaughlin 1963).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.metrics.build_result import LEAST, NO_REFERENCE
from ganeval.metrics.intervals import quantile, symmetric_interval
from ganeval.metrics.registry import METRICS
from ganeval.metrics.settings import Settings
from ganeval.protocol import Protocol
from ganeval.results import MetricResult, Reason

TRIM = 0.01  # of the distances, at each end
LPIPS_VGG = "lpips-vgg"  # the distance of the paper
_SAME_DIRECTION = 1e-6  # sine of the angle under which two latents leave the great circle between them undefined

Points = TypeVar("Points")  # an array or a tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """What is measured; every choice changes the number.

    Attributes:
        space: ``z``, or ``w`` for a generator with ``mapping`` and ``synthesis``.
        sampling: ``full``: anywhere on the path; ``end``: at its start.
        epsilon: the step.
        crop: only the part of the image where StyleGAN's faces are: rows 3/8 to 7/8, columns 2/8 to 6/8.
        resize: to so many pixels before the distance; None: averaged down to 256 if larger.
        trim: drop the outer percentiles.
        unit: great circles of radius 1, as the definition has them. Otherwise their radius is the root mean square of
            the lengths of the two latents: the same to a generator that normalises its latents, and to any other
            the place where its latents are (standard normal ones have length sqrt(dimension), not 1).
    """

    space: str = "z"
    sampling: str = "full"
    epsilon: float = 1e-4
    crop: bool = False
    resize: int | None = None
    trim: bool = True
    unit: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Path:
        """What the settings of a run choose."""
        return cls(**{one.name: getattr(settings, one.name) for one in fields(cls)})

    @property
    def name(self) -> str:
        """As in StyleGAN's ``ppl_zfull``, with every choice that is not the usual one.

        >>> Path(space="w", crop=True, trim=False).name
        'w-full, crop, no trim'
        """
        parts = [f"{self.space}-{self.sampling}"]
        parts += ["unit"] if self.unit else []
        parts += [f"eps {self.epsilon:g}"] if self.epsilon != 1e-4 else []
        parts += ["crop"] if self.crop else []
        parts += [f"{self.resize} px"] if self.resize is not None else []
        parts += [] if self.trim else ["no trim"]
        return ", ".join(parts)

    def settings(self) -> dict[str, object]:
        """For the comparison key."""
        return {
            "space": self.space,
            "sampling": self.sampling,
            "epsilon": self.epsilon,
            "crop": self.crop,
            "resize": self.resize,
            "trim": TRIM if self.trim else 0.0,
            "unit": self.unit,
        }


# --- paths -------------------------------------------------------------------------------------------------------


def lerp(start: Points, end: Points, t: Points | float) -> Points:
    """The line from ``start`` (t = 0) to ``end`` (t = 1); ``t`` is a number or broadcasts."""
    return start + (end - start) * t  # type: ignore[operator, no-any-return]


def slerp(start: np.ndarray, end: np.ndarray, t: np.ndarray | float) -> np.ndarray:
    """The great circle from the direction of ``start`` (t = 0) to that of ``end`` (t = 1); t may lie beyond.

    With unit vectors u, v at the angle a, and q the direction of v's part across u:  u cos(t a) + q sin(t a).

    Shape:
        (n, ...) and (n, ...), all axes but the first are one vector; t (n,) -> unit vectors, float64 (n, ...).

    Raises:
        InputError: two vectors on one line through 0: there is no, or more than one, great circle.

    >>> slerp(np.array([[2.0, 0.0]]), np.array([[0.0, 5.0]]), 0.5).round(4)
    array([[0.7071, 0.7071]])
    """
    shape = start.shape
    first, second = (x.reshape(len(x), -1).astype(np.float64) for x in (start, end))
    if not defined(first, second).all():
        raise InputError("there is no great circle between latents on one line through 0, or at 0.")
    first, second = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (first, second))
    cosine = np.einsum("ij,ij->i", first, second)[:, None]
    across = second - cosine * first
    sine = np.linalg.norm(across, axis=1, keepdims=True)
    angle = np.arctan2(sine, cosine) * np.asarray(t, dtype=np.float64).reshape(-1, 1)
    out: np.ndarray = first * np.cos(angle) + across / sine * np.sin(angle)
    return out.reshape(shape)


def defined(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(n,) whether there is one great circle between these vectors: neither equal, nor opposite, nor 0."""
    first, second = (x.reshape(len(x), -1).astype(np.float64) for x in (start, end))
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = np.divide(np.einsum("ij,ij->i", first, second), lengths, out=np.ones(len(first)), where=lengths > 0)
    return np.asarray(1 - cosine**2 > _SAME_DIRECTION**2)


# --- the number --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PathLength:
    """A mean of distances over squared steps.

    Attributes:
        kept: how many were not dropped, all within ``low`` and ``high``.
        influence: (n,), mean 0, of each pair on ``value``.
    """

    value: float
    kept: int
    low: float
    high: float
    influence: np.ndarray

    @property
    def standard_error(self) -> float:
        return float(self.influence.std(ddof=1) / math.sqrt(len(self.influence)))


def path_length(distances: np.ndarray, *, trim: bool = True) -> PathLength:
    """The mean of d / eps^2, trimmed or not, with what each pair does to it.

    Equals StyleGAN's and torch-fidelity's reduction of the same distances to 1e-12.

    Args:
        distances: (n,), over eps^2 already.
        trim: drop those below the 1st and above the 99th percentile.

    Raises:
        NotEnoughSamplesError: fewer than two.

    >>> path_length(np.arange(1.0, 201.0)).value
    100.5
    """
    values = np.asarray(distances, dtype=np.float64)
    if len(values) < 2:
        raise NotEnoughSamplesError(f"a path length needs at least 2 pairs of latents; found {len(values)}.")
    share = TRIM if trim else 0.0
    low = np.percentile(values, 100 * share, method="lower")
    high = np.percentile(values, 100 * (1 - share), method="higher")
    kept = values[(values >= low) & (values <= high)]
    winsorised = np.clip(values, low, high)
    influence = (winsorised - winsorised.mean()) / (1 - 2 * share)
    return PathLength(float(kept.mean()), len(kept), float(low), float(high), influence)


def measure(
    distances: np.ndarray,
    digests: np.ndarray,
    *,
    path: Path,
    protocol: Protocol,
    level: float = 0.95,
    details: Mapping[str, object] | None = None,
    warnings: tuple[str, ...] = (),
) -> MetricResult:
    """The result of ``ppl``.

    Args:
        distances: (n,) of the pairs, over eps^2.
        digests: (n,) uint64, which stand for the latents of each pair, so that two generators can be paired.
        protocol: of the perceptual distance.
        level: of the interval.
    """
    values = np.asarray(distances, dtype=np.float64)
    if not np.isfinite(values).all():
        raise InputError(
            f"the distance of pair {int(np.argmin(np.isfinite(values)))} is not a finite number. "
            "Look for NaN or infinity in what the generator makes."
        )
    found = path_length(values, trim=path.trim)
    error, interval, metric = found.standard_error, None, METRICS["ppl"]
    reason = None if error > 0 else Reason("constant_distances")
    if len(values) < LEAST:
        reason = Reason("too_few_pairs", n=len(values), needed=LEAST)
    if reason is None:
        half = quantile(level, None) * error
        method = "winsorised" if path.trim else "mean"
        interval = symmetric_interval(found.value, half, level, method, "population", within=metric.range)
    return MetricResult(
        name=metric.name,
        label=_label(metric.acronym, protocol),
        value=found.value,
        higher_is_better=metric.higher_is_better,
        n_real=None,
        n_fake=len(values),
        protocol=protocol,
        standard_error=error if interval is not None else None,
        bias=0.0 if interval is not None else None,
        corrected=found.value if interval is not None else None,
        interval=interval,
        reason=reason,
        warnings=warnings,
        reference=NO_REFERENCE,
        settings=path.settings(),
        details={
            "unit": "pairs",
            "kept": found.kept,
            "low": found.low,
            "high": found.high,
            "median": float(np.median(values)),
            **(details or {}),
        },
        per_image={
            "ppl_distance": values,
            "ppl_influence_fake": found.influence,
            "ppl_latent_digests": digests,
        },
    )


def _label(acronym: str, protocol: Protocol) -> str:
    """``PPL`` with the distance of the paper and its published weights; any other distance is named."""
    name = protocol.extractor
    if protocol.weights is not None and not protocol.verified:
        name += f"-{protocol.weights[:8]}"
    return acronym if name == LPIPS_VGG else f"{acronym}[{name}]"
