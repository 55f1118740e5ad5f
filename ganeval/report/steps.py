"""Metrics over several runs: over the steps of a training where the names of the runs tell them, else side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ganeval.records import Record
from ganeval.report.charts import Plot, padded
from ganeval.results import MetricResult

FEWEST = 3  # runs; two are compared in the table


@dataclass(frozen=True, slots=True)
class Order:
    """Where runs stand on an axis.

    Attributes:
        records: from left to right.
        places: of each.
        label: of the axis.
        steps: whether the places are numbers that the names of the runs tell, so that a line may join them.
    """

    records: tuple[Record, ...]
    places: tuple[float, ...]
    label: str
    steps: bool


def ordered(records: Sequence[Record]) -> Order:
    """By the one number in which all names differ (``step-500.json``, ``step-1000.json``); else as they come."""
    parts = [re.split(r"(\d+)", record.name) for record in records]
    if len(records) > 1 and len({len(p) for p in parts}) == 1:
        differing = [i for i in range(len(parts[0])) if len({p[i] for p in parts}) > 1]
        if len(differing) == 1 and differing[0] % 2 == 1:
            (i,) = differing
            numbers = [int(p[i]) for p in parts]
            if len(set(numbers)) == len(records):
                ranked = sorted(range(len(records)), key=lambda k: numbers[k])
                word = re.search(r"([^\W\d_]+)[^\w(]*_*$", parts[0][i - 1])
                return Order(
                    tuple(records[k] for k in ranked), tuple(float(numbers[k]) for k in ranked),
                    word.group(1) if word else "number in the name of the run", True,
                )  # fmt: skip
    return Order(tuple(records), tuple(map(float, range(1, len(records) + 1))), "run, in the order of the table", False)


def over_runs(order: Order) -> list[Markup]:
    """One plot a metric and protocol, of those that at least three runs have."""
    found: dict[tuple[str, str], list[tuple[float, MetricResult]]] = {}
    for place, record in zip(order.places, order.records, strict=True):
        for name, result in record.evaluation.results.items():
            found.setdefault((name, result.protocol.key()), []).append((place, result))
    return [_plot(points, order) for points in found.values() if len(points) >= FEWEST]


def _plot(points: Sequence[tuple[float, MetricResult]], order: Order) -> Markup:
    places, results = [place for place, _ in points], [result for _, result in points]
    unbiased = all(r.corrected is not None for r in results)
    values = [_centre(r) if unbiased else r.value for r in results]
    intervals = [r.interval if unbiased or not r.bias else None for r in results]
    ends = [end for one in intervals if one is not None for end in (one.low, one.high)]
    kind = "bias-corrected" if unbiased and any(r.bias for r in results) else "value"
    if not unbiased and len({(r.n_real, r.n_fake) for r in results}) > 1:
        kind = "value; the numbers of images differ"
    label = results[0].label
    low, high = min(order.places), max(order.places)
    room = 0.03 * (high - low)
    plot = Plot(
        f"{label} over the runs", (low - room, high + room), padded([*values, *ends]), order.label, kind,
        x_ticks=None if order.steps else order.places[:: 1 + len(order.places) // 13],
    )  # fmt: skip
    there = [one for one in intervals if one is not None]
    level = f"{100 * there[0].level:g} % interval" if there else ""
    if order.steps and len(there) == len(points):
        plot.band(places, [one.low for one in there], [one.high for one in there], 0, level)
    else:
        for place, one in zip(places, intervals, strict=True):
            if one is not None:
                plot.error(place, one.low, one.high, 0)
    if order.steps:
        plot.line(places, values, 0, kind, markers=True)
    else:
        plot.points(places, values, 0, kind if not there else f"{kind} with its {level}")
    told = "; ".join(f"{value:.4g} at {place:g}" for place, value in zip(places, values, strict=True))
    return plot.svg(f"{told}.")


def _centre(r: MetricResult) -> float:
    return r.value if r.corrected is None else r.corrected
