"""A Frechet distance with the error bar that its numbers of images allow.

Above the rule (more than 2.5 distinct images for each direction of the covariance, hardly any copies, on every drawn
side) the distance between the distributions can be estimated: ``frechet_inference``, estimand ``population``. Below
it, what these numbers of images give on average can be estimated: ``leave_one_out``, estimand ``protocol``, or
``protocol-given-reference`` where the reference is the target itself; with a value that is calibrated for comparisons,
and bounds of the distance itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from ganeval.metrics.calibration import FROM_REALS, Kappa, kappa
from ganeval.metrics.frechet import (
    FrechetInference,
    FrechetValue,
    degenerate,
    frechet_distance,
    frechet_inference,
    rank_of,
    shared_rows,
    too_few,
)
from ganeval.metrics.frechet_bounds import lower_bound
from ganeval.metrics.intervals import (
    ESTIMAND,
    PROTOCOL_ESTIMAND,
    one_sided_quantile,
    quantile,
    repeats,
    symmetric_interval,
)
from ganeval.metrics.leave_one_out import LEAST, leave_one_out, singular_values
from ganeval.metrics.types import Memo, nothing_is_kept
from ganeval.results import LEAVE_ONE_OUT, Interval, Reason
from ganeval.statistics.linalg import Coupling, TraceSqrt
from ganeval.statistics.linalg_torch import eigh_for
from ganeval.statistics.moments import Gaussian
from ganeval.statistics.rows import FeatureRows


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Distance:
    """The value, its parts and its error bar; features squared.

    Attributes:
        standard_error: None where there is a ``reason``.
        bias: of the value as an estimate of the population's distance; None below the rule.
        degrees_of_freedom: of Student's quantile; None: the normal one.
        influence_fake, influence_real: one number an image, mean zero, whose variances give the standard error.
        calibrated_fake, calibrated_real: the same for the calibrated value; None where there is none.
        small: what there is below the rule for ``details``.
    """

    parts: FrechetValue
    standard_error: float | None
    bias: float | None
    method: str
    estimand: str
    degrees_of_freedom: float | None = None
    reason: Reason | None = None
    influence_fake: np.ndarray | None = None
    influence_real: np.ndarray | None = None
    calibrated_fake: np.ndarray | None = None
    calibrated_real: np.ndarray | None = None
    small: dict[str, object] = field(default_factory=dict)

    @property
    def value(self) -> float:
        return self.parts.value

    @property
    def corrected(self) -> float | None:
        return None if self.bias is None or self.reason else self.value - self.bias

    def error_bar(self) -> dict[str, Any]:
        """What ``MetricInputs.result`` makes the interval of."""
        return {
            "standard_error": self.standard_error,
            "bias": self.bias,
            "method": self.method,
            "estimand": self.estimand,
            "degrees_of_freedom": self.degrees_of_freedom,
        }

    def per_image(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of single images that a result of this name carries."""
        arrays = {
            "influence_fake": self.influence_fake,
            "influence_real": self.influence_real,
            "calibrated_fake": self.calibrated_fake,
            "calibrated_real": self.calibrated_real,
        }
        return {f"{name}_{kind}": array for kind, array in arrays.items() if array is not None}

    def interval(self, level: float) -> Interval | None:
        if self.standard_error is None or self.reason:
            return None
        centre = self.value if self.corrected is None else self.corrected
        half = quantile(level, self.degrees_of_freedom) * self.standard_error
        return symmetric_interval(centre, half, level, self.method, self.estimand)


def distance(
    real: Gaussian,
    fake: Gaussian,
    real_rows: FeatureRows | None,
    fake_rows: FeatureRows,
    *,
    reference: str = "sample",
    trace: str = "auto",
    level: float = 0.95,
    details: bool = True,
    kappa_rows: FeatureRows | None = None,
    memo: Memo = nothing_is_kept,
    device: torch.device | None = None,
) -> Distance:
    """The distance of two sets of which the rows are available, or of the fakes' rows from a fixed reference.

    Args:
        real_rows: of the reals; under ``population`` some of them, or None.
        details: also the calibrated value and the bounds, where there are such.
        kappa_rows: of the reals, or some of them, for the calibration; None: Gaussian rows of their moments.
        memo: keeps what depends on the reference and the number of fakes alone.
    """
    drawn = {"fake": (fake, fake_rows)}
    if reference == "sample" and real_rows is not None:
        drawn["real"] = (real, real_rows)
    ranks = {name: rank_of(gaussian, rows) for name, (gaussian, rows) in drawn.items()}
    few = [too_few(name, gaussian, rows, ranks[name], max(ranks.values())) for name, (gaussian, rows) in drawn.items()]
    copies = any(repeats(rows.distinct(), len(rows)) for _, rows in drawn.values())
    if not (any(few) or copies) or (reference == "sample" and real_rows is None):
        return _of_population(real, fake, real_rows, fake_rows, reference=reference, trace=trace, device=device)
    return _of_protocol(
        real,
        fake,
        real_rows,
        fake_rows,
        reference=reference,
        trace=trace,
        level=level,
        details=details,
        kappa_rows=kappa_rows or real_rows,
        memo=memo,
    )


def _of_population(
    real: Gaussian,
    fake: Gaussian,
    real_rows: FeatureRows | None,
    fake_rows: FeatureRows,
    *,
    reference: str,
    trace: str,
    device: torch.device | None,
) -> Distance:
    plan = Coupling.of(real.covariance, fake.covariance, eigh=eigh_for(device))
    parts = frechet_distance(real, fake, trace=trace, root=plan.trace)
    found: FrechetInference = frechet_inference(
        real, fake, real_rows, fake_rows, reference=reference, plan=plan, device=device
    )
    return Distance(
        parts=parts,
        standard_error=found.standard_error,
        bias=found.bias,
        method="influence",
        estimand=ESTIMAND[reference],
        reason=found.reason,
        influence_fake=found.influence_fake,
        influence_real=found.influence_real,
    )


def _of_protocol(
    real: Gaussian,
    fake: Gaussian,
    real_rows: FeatureRows | None,
    fake_rows: FeatureRows,
    *,
    reference: str,
    trace: str,
    level: float,
    details: bool,
    kappa_rows: FeatureRows | None,
    memo: Memo,
) -> Distance:
    drawn_rows = real_rows if reference == "sample" else None
    singular = singular_values(real, fake, fake_rows, drawn_rows)
    parts = frechet_distance(real, fake, trace=trace, root=TraceSqrt(singular.total, singular.method))
    least = {name: rows.distinct() for name, rows in (("fake", fake_rows), ("real", drawn_rows)) if rows is not None}
    if min(least.values()) < LEAST:
        fewest = min(least, key=lambda name: least[name])
        why = Reason("too_few_distinct", n=least[fewest], image_set=fewest, needed=LEAST)
        return Distance(
            parts=parts,
            standard_error=None,
            bias=None,
            method=LEAVE_ONE_OUT,
            estimand=PROTOCOL_ESTIMAND[ESTIMAND[reference]],
            reason=why,
        )
    plain = leave_one_out(real, fake, fake_rows, drawn_rows, parts=singular)
    traces = float(np.trace(real.covariance) + np.trace(fake.covariance))
    reason = shared_rows(real_rows, fake_rows) or degenerate(0.0, plain.standard_error, traces)
    found = Distance(
        parts=parts,
        standard_error=None if reason else plain.standard_error,
        bias=None,
        method=LEAVE_ONE_OUT,
        estimand=PROTOCOL_ESTIMAND[ESTIMAND[reference]],
        degrees_of_freedom=plain.degrees_of_freedom,
        reason=reason,
        influence_fake=plain.pseudo_fake,
        influence_real=plain.pseudo_real,
    )
    if reason or not details:
        return found
    small: dict[str, object] = {
        "features": real.dimension,
        "bounds": _bounds(real, fake, fake_rows, drawn_rows, singular, level),
    }
    if drawn_rows is None or len(drawn_rows) >= FROM_REALS * len(fake_rows):
        known = memo(f"kappa-{len(fake_rows)}", Kappa, lambda: kappa(real, len(fake_rows), kappa_rows))
        calibrated = leave_one_out(real, fake, fake_rows, drawn_rows, kappa=known.value, parts=singular)
        small |= {
            "kappa": known.value,
            "kappa_se": known.standard_error,
            "kappa_source": known.source,
            "calibrated": calibrated.value,
            "calibrated_se": calibrated.standard_error,
        }
        found = replace(found, calibrated_fake=calibrated.pseudo_fake, calibrated_real=calibrated.pseudo_real)
    return replace(found, small=small)


def _bounds(
    real: Gaussian, fake: Gaussian, fake_rows: FeatureRows, drawn_rows: FeatureRows | None, singular: Any, level: float
) -> dict[str, object]:
    """Between which the distance of the distributions lies: estimates with errors, and one-sided ends at the level."""
    upper = leave_one_out(real, fake, fake_rows, drawn_rows, kappa=1.0, parts=singular)
    z = one_sided_quantile(0.5 + level / 2)
    bounds: dict[str, object] = {
        "lower": None,
        "upper": upper.value + z * upper.standard_error,
        "level": level,
        "lower_estimate": None,
        "lower_se": None,
        "upper_estimate": upper.value,
        "upper_se": upper.standard_error,
    }
    if drawn_rows is None:
        lower = lower_bound(real, fake_rows)
        low = max(0.0, lower.value - z * lower.standard_error)
        bounds |= {"lower": low, "lower_estimate": lower.value, "lower_se": lower.standard_error}
    return bounds
