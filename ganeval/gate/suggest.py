"""Suggested limits from several runs of one recipe with different training seeds: their median and their scatter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10, sqrt
from statistics import median, stdev

from ganeval.errors import InputError
from ganeval.metrics.difference import Measurement
from ganeval.metrics.registry import higher_is_better
from ganeval.protocol import SCORES
from ganeval.result_files import Record

LEAST = 3
SPREADS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Of one metric: the worst acceptable value (``max`` or ``min``), and the largest change between two runs."""

    metric: str
    kind: str
    limit: float
    regression: float
    median: float
    spread: float
    n_fake: int
    runs: int
    protocol: str
    compare: str


def suggest(records: Sequence[Record]) -> tuple[list[Suggestion], list[str]]:
    """Suggest the median plus (minus, where higher is better) three standard deviations, for every common metric.

    The deviation contains the effects of training seeds and of sampling. It is at least the median standard error of
    the runs. A change between two runs has sqrt(2) times the deviation of one run.

    Returns:
        Suggestions, and notes on metrics without one.

    Raises:
        InputError: fewer than three runs, or no common metric.
        IncomparableError: the protocols, references or numbers of images differ.
    """
    if len(records) < LEAST:
        raise InputError(
            f"found {len(records)} files; expected results of at least {LEAST} runs with different training seeds."
        )
    found, notes = [], []
    common = [name for name in records[0].evaluation.results if all(r.result(name) for r in records)]
    for name in common:
        measured = [Measurement(result=r.evaluation.results[name]) for r in records]
        first = measured[0].result
        for other in measured[1:]:
            first.require_comparable(other.result)
        corrected = all(m.result.corrected is not None for m in measured)
        values = [m.centre if corrected else m.result.value for m in measured]
        spread = stdev(values)
        if spread == 0:
            notes.append(f"{name}: all runs have the same value, {values[0]:.6g}: are they different runs?")
            continue
        spread = max(spread, median([m.result.standard_error or 0.0 for m in measured]))
        if (rises := higher_is_better(first)) is None:
            notes.append(f"{name}: no direction is known: measure it with --higher-is-better or --lower-is-better.")
            continue
        sign = -1.0 if rises else 1.0
        limit = _round(median(values) + sign * SPREADS * spread, spread)
        found.append(
            Suggestion(
                metric=name,
                kind="max" if sign > 0 else "min",
                limit=limit,
                regression=_round(SPREADS * sqrt(2) * spread, spread),
                median=median(values),
                spread=spread,
                n_fake=first.n_fake or 2,
                runs=len(records),
                protocol=first.protocol.name,
                compare="corrected" if corrected else "value",
            )
        )
    if not found:
        raise InputError("the runs have no common metric from which a limit follows. " + " ".join(notes))
    return found, notes


def toml(suggestions: Sequence[Suggestion]) -> str:
    """The rules as text for ganeval.toml."""
    lines = ["[gate]"]
    if (protocol := suggestions[0].protocol) != SCORES:
        lines.append(f'protocol = "{protocol}"')
    for s in suggestions:
        side = "+" if s.kind == "max" else "-"
        lines += [
            "",
            f"[gate.scores.{json.dumps(s.metric)}]" if s.protocol == SCORES else f"[gate.rules.{s.metric}]",
            f"{s.kind} = {s.limit!r}",
            f"# max-regression = {{ abs = {s.regression!r} }}  # with --baseline",
            f"min-samples = {s.n_fake}",
            f'compare = "{s.compare}"',
            f'source = "median {s.median:.4g} {side} 3 sd of {s.spread:.2g}, {s.runs} seeds"',
        ]
    return "\n".join(lines)


def _round(value: float, spread: float) -> float:
    """Round to a hundredth of the deviation: further digits have no meaning."""
    return round(value, max(0, 2 - floor(log10(spread))))
