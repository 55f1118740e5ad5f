"""Plots of a metric over several runs: over the steps in the names of the runs, else with one row per run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ganeval.report.charts import Plot, padded, rows_plot
from ganeval.result_files import Record
from ganeval.results import Interval, MetricResult

FEWEST = 3  # runs; two are compared in the table
_ROWS = 16  # runs whose names fit at the left of a plot


@dataclass(frozen=True, slots=True)
class Order:
    """Places of runs on an axis.

    Attributes:
        records: from left to right.
        places: of each.
        label: of the axis.
        steps: whether the places are numbers from the names of the runs, so that a line can join them.
    """

    records: tuple[Record, ...]
    places: tuple[float, ...]
    label: str
    steps: bool


def ordered(records: Sequence[Record]) -> Order:
    """Order by the one number in which all names differ (``step-500.json``, ``step-1000.json``), else as passed."""
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
                    tuple(records[k] for k in ranked),
                    tuple(float(numbers[k]) for k in ranked),
                    word.group(1) if word else "number in the name of the run",
                    True,
                )
    return Order(tuple(records), tuple(map(float, range(1, len(records) + 1))), "run, in the order of the table", False)


def over_runs(order: Order) -> list[Markup]:
    """One plot for each metric and protocol that at least three runs have."""
    found: dict[tuple[str, str], list[Spot]] = {}
    for place, record in zip(order.places, order.records, strict=True):
        for name, result in record.evaluation.results.items():
            found.setdefault((name, result.protocol.key()), []).append(Spot(place, record.name, result))
    draw = _beside if not order.steps and len(order.records) <= _ROWS else _over
    return [draw(spots, order) for spots in found.values() if len(spots) >= FEWEST]


@dataclass(frozen=True, slots=True)
class Spot:
    """A metric of one run, and its place."""

    place: float
    name: str
    result: MetricResult


def _over(spots: Sequence[Spot], order: Order) -> Markup:
    """Plot over the steps or the numbers of the runs, with a band where there is a line."""
    places = [spot.place for spot in spots]
    values, intervals, kind = _comparable(spots)
    low, high = min(order.places), max(order.places)
    room = 0.03 * (high - low)
    plot = Plot(
        f"{spots[0].result.label} over the runs",
        (low - room, high + room),
        _axis(values, intervals),
        order.label,
        kind,
        x_ticks=None if order.steps else order.places[:: 1 + len(order.places) // 13],
    )
    known = [one for one in intervals if one is not None]
    if order.steps and len(known) == len(spots):
        plot.band(places, [one.low for one in known], [one.high for one in known], 0, _level(intervals))
    else:
        for place, one in zip(places, intervals, strict=True):
            if one is not None:
                plot.error(place, one.low, one.high, 0)
    if order.steps:
        plot.line(places, values, 0, kind, markers=True)
    else:
        plot.points(places, values, 0, ", ".join(filter(None, (kind, _level(intervals)))))
    return plot.svg("; ".join(f"{value:.4g} at {place:g}" for place, value in zip(places, values, strict=True)) + ".")


def _beside(spots: Sequence[Spot], order: Order) -> Markup:
    """Plot with one named row per run."""
    values, intervals, kind = _comparable(spots)
    rows = len(order.records)
    plot = rows_plot(f"{spots[0].result.label} of the runs", _axis(values, intervals), rows, kind)
    for spot, value, one in zip(spots, values, intervals, strict=True):
        height = rows - spot.place
        if one is not None:
            plot.error(height, one.low, one.high, 0, across=True)
        plot.points([value], [height], 0)
        plot.name(height, spot.name)
    if level := _level(intervals):
        plot.explain("error", 0, level)
    return plot.svg("; ".join(f"{spot.name}: {value:.4g}" for spot, value in zip(spots, values, strict=True)) + ".")


def _comparable(spots: Sequence[Spot]) -> tuple[list[float], list[Interval | None], str]:
    """Bias-corrected values where all runs have one, else plain values; their intervals; and the kind of value."""
    results = [spot.result for spot in spots]
    unbiased = all(r.corrected is not None for r in results)
    values = [r.value if r.corrected is None or not unbiased else r.corrected for r in results]
    intervals = [r.interval if unbiased or not r.bias else None for r in results]
    kind = "bias-corrected" if unbiased and any(r.bias for r in results) else "value"
    if not unbiased and len({(r.n_real, r.n_fake) for r in results}) > 1:
        kind = "value; the numbers of images differ"
    return values, intervals, kind


def _axis(values: Sequence[float], intervals: Sequence[Interval | None]) -> tuple[float, float]:
    return padded([*values, *(end for one in intervals if one is not None for end in (one.low, one.high))])


def _level(intervals: Sequence[Interval | None]) -> str:
    return next((f"{100 * one.level:g} % interval" for one in intervals if one is not None), "")
