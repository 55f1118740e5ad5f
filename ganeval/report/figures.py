"""The plots of a report: each is drawn where the runs have the values for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from ganeval.gate.compare import Comparison
from ganeval.report.charts import Plot, edges_for, heights, padded, rows_plot
from ganeval.result_files import Record

MOST_RUNS = 4  # in one plot: as many colours as readers can distinguish
_CLASSES = 12
_MOST_BANDS = 32  # of a side of the picture


def chosen(records: Sequence[Record]) -> list[Record]:
    """At most ``MOST_RUNS`` runs, evenly from the first to the last."""
    places = np.linspace(0, len(records) - 1, min(MOST_RUNS, len(records))).round().astype(int)
    return [records[i] for i in places.tolist()]


def plots(shown: Sequence[Record]) -> list[Markup]:
    """All plots of a few runs, each of which has a colour."""
    several = len(shown) > 1
    found = [
        *(by_size(record, several=several) for record in shown),
        plane(shown),
        distribution(shown, "realism_fake", "Realism of the fakes", "realism, a ratio of distances", level=1.0),
        distribution(shown, "ppl_distance", "Steps between latents", "perceptual distance over the squared step"),
        *scores(shown),
        *(distances(record, several=several) for record in shown),
        *(classes(record, several=several) for record in shown),
        *(frequency_bands(record, several=several) for record in shown),
    ]
    return [plot for plot in found if plot is not None]


def by_size(record: Record, *, several: bool) -> Markup | None:
    """The Frechet distance against the number of fakes: plain values decrease with it, corrected ones do not."""
    result = record.result("fid")
    if result is None:
        return None
    smaller: Any = result.details.get("by_size") or ()
    last = {k: getattr(result, k) for k in ("value", "corrected", "standard_error")} | {"n": result.n_fake}
    if result.interval is not None:
        last |= {"interval": [result.interval.low, result.interval.high], "estimand": result.interval.estimand}
    sizes = [*smaller, last]
    if len(sizes) < 2:
        return None
    n, plain = [s["n"] for s in sizes], [s["value"] for s in sizes]
    corrected = [s for s in sizes if None not in (s.get("corrected"), s.get("standard_error"))]
    ends = [c["corrected"] + sign * 1.96 * c["standard_error"] for c in corrected for sign in (-1, 1)]
    few = [s for s in sizes if s.get("interval") and str(s.get("estimand")).startswith("protocol")]
    reach = [end for s in few for end in s["interval"]]
    title, ends_of_y = _titled(f"{result.label} against the number of fakes", record, several), [*plain, *ends, *reach]
    plot = Plot(title, padded(n, logarithmic=True), padded(ends_of_y), "fakes (logarithmic)", result.label, log_x=True)
    if len(few) > 1:
        plot.band([s["n"] for s in few], reach[::2], reach[1::2], 1, "interval of the plain value at this number")
    elif few:
        plot.error(few[0]["n"], reach[0], reach[1], 1)
    plot.line(n, plain, 1, "plain, with its bias", markers=True)
    if corrected:
        m = [c["n"] for c in corrected]
        low, high = ends[::2], ends[1::2]
        plot.band(m, low, high, 0, "95 % interval") if len(m) > 1 else plot.error(m[0], low[0], high[0], 0)
        plot.line(m, [c["corrected"] for c in corrected], 0, "bias-corrected", markers=True)
    alt = f"From {n[0]} to {n[-1]} fakes the plain value changes from {plain[0]:.4g} to {plain[-1]:.4g}"
    alt += f"; the bias-corrected value is {corrected[-1]['corrected']:.4g} at the end." if corrected else "."
    return plot.svg(alt)


def plane(records: Sequence[Record]) -> Markup | None:
    """Precision against recall, with both intervals."""
    pairs = [(i, record.result("precision"), record.result("recall")) for i, record in enumerate(records)]
    if not any(precision and recall for _, precision, recall in pairs):
        return None
    plot = Plot("Precision and recall", (-0.03, 1.03), (-0.03, 1.03), "recall: reals near a fake", "precision")
    words = []
    for i, precision, recall in pairs:
        if precision is None or recall is None:
            continue
        if precision.interval is not None:
            plot.error(recall.value, precision.interval.low, precision.interval.high, i)
        if recall.interval is not None:
            plot.error(precision.value, recall.interval.low, recall.interval.high, i, across=True)
        plot.points([recall.value], [precision.value], i, records[i].name)
        words.append(f"{records[i].name}: precision {precision.value:.3f}, recall {recall.value:.3f}.")
    return plot.svg(" ".join(words))


def distribution(
    records: Sequence[Record], key: str, title: str, label: str, *, level: float | None = None
) -> Markup | None:
    """Histograms of one value per image, one for each run."""
    arrays = [(i, np.asarray(record.arrays.get(key, ()))) for i, record in enumerate(records)]
    arrays = [(i, values) for i, values in arrays if np.isfinite(values).any()]
    if not arrays:
        return None
    edges = edges_for(*(values for _, values in arrays))
    if level is not None:
        edges = np.linspace(min(edges[0], level), max(edges[-1], level), len(edges))
    plot = _histogram(title, label, [values for _, values in arrays], edges)
    for i, values in arrays:
        plot.histogram(values, i, records[i].name, edges)
    if level is not None:
        plot.level(level, f"{level:g}: on the surface of a ball around a real", upright=True)
    return plot.svg(" ".join(f"{records[i].name}: median {np.median(values):.3g}." for i, values in arrays))


def scores(records: Sequence[Record]) -> list[Markup | None]:
    """The distribution of each metric that is a mean of one number per image or pair."""
    names = dict.fromkeys(
        name
        for record in records
        for name, result in record.evaluation.results.items()
        if f"{name}_score_fake" in record.arrays and result.details.get("kind") == "mean"
    )
    return [distribution(records, f"{name}_score_fake", f"Scores: {name}", name) for name in names]


def distances(record: Record, *, several: bool) -> Markup | None:
    """Distances of fakes from their nearest reals, with those of reals from each other."""
    sets = {
        "fakes, from the nearest real": record.arrays.get("nearest_distance_fake"),
        "reals, from the nearest other real": record.arrays.get("own_distance_real"),
    }
    arrays = {name: values for name, values in sets.items() if values is not None and len(values)}
    if len(arrays) < len(sets):
        return None
    edges = edges_for(*arrays.values())
    edges = np.linspace(0, edges[-1], len(edges))
    title = _titled("Distances between neighbours", record, several)
    plot = _histogram(title, "distance in features", list(arrays.values()), edges)
    for i, (name, values) in enumerate(arrays.items()):
        plot.histogram(values, 1 - i, name, edges)
    return plot.svg(" ".join(f"{name}: median {np.median(values):.3g}." for name, values in arrays.items()))


def classes(record: Record, *, several: bool) -> Markup | None:
    """The distance within each class, the worst first."""
    results = [one for name in ("fid", "intra-fid") if (one := record.result(name)) and one.details.get("per_class")]
    result = results[0] if results else None
    per_class: Any = {} if result is None else result.details["per_class"]
    rows = [
        (name, entry["value"] if entry.get("corrected") is None else entry["corrected"], entry.get("interval"))
        for name, entry in per_class.items()
    ]
    ranked = sorted((row for row in rows if row[1] is not None), key=lambda row: -row[1])
    if result is None or not ranked:
        return None
    worst = ranked[:_CLASSES]
    ends = [end for _, _, interval in worst if interval for end in interval]
    low, high = min([0.0, *ends]), max([c for _, c, _ in worst] + ends)
    more = f", the {len(worst)} worst of {len(ranked)}" if len(ranked) > len(worst) else ""
    title = _titled(f"{result.label} within each class{more}", record, several)
    plot = rows_plot(title, (low, 1.05 * high), len(worst), "distance, bias-corrected where it can be")
    for i, (name, centre, interval) in enumerate(worst):
        place = len(worst) - 1 - i
        plot.bar(place, centre, 0, str(name))
        if interval:
            plot.error(place, interval[0], interval[1], 3, across=True)
    return plot.svg(" ".join(f"{name}: {centre:.4g}." for name, centre, _ in worst))


def frequency_bands(record: Record, *, several: bool) -> Markup | None:
    """The distance of fwd in every frequency band, on a logarithmic scale of four powers of ten."""
    result = record.result("fwd")
    bands = np.array([] if result is None else result.details.get("bands") or [], dtype=np.float64)
    if result is None or bands.ndim != 2 or bands.shape[0] != bands.shape[1] or not (bands > 0).any():
        return None
    each = max(1, len(bands) // _MOST_BANDS)  # neighbours are averaged where there are too many
    bands = bands.reshape(len(bands) // each, each, -1, each).mean(axis=(1, 3))
    side, largest = len(bands), float(bands.max())
    shares = np.clip(1 + np.log10(np.maximum(bands, largest * 1e-9) / largest) / 4, 0.0, 1.0)
    title = _titled(f"{result.label} by frequency band", record, several)
    ends = -0.5, side - 0.5
    plot = Plot(title, ends, ends, "changes of sign to the right", "changes of sign downwards")
    for (down, right), share in np.ndenumerate(shares):
        plot.cell(right, down, float(share), 0)
    plot.explain("bar", 0, f"darkest: {largest:.3g}; a quarter paler for each factor of ten")
    down, right = np.unravel_index(int(bands.argmax()), bands.shape)
    return plot.svg(f"The largest distance, {largest:.3g}, is in band ({down}, {right}) of {side} x {side}.")


def forest(found: Comparison) -> Markup | None:
    """Changes from one run to another: each difference over its standard error, better ones to the right."""
    rows = [row for row in found.rows if row.reason is None and row.standard_error and row.higher_is_better is not None]
    if len(rows) < 2:
        return None
    signs = [1 if row.higher_is_better else -1 for row in rows]
    changes = [
        tuple(sign * float(x or 0.0) / float(row.standard_error or 1.0) for x in (row.difference, row.low, row.high))
        for sign, row in zip(signs, rows, strict=True)
    ]
    ends = padded([0.0, *(end for ends in changes for end in ends)])
    plot = rows_plot("Changes over their standard errors", ends, len(rows), "standard errors; to the right: better")
    plot.level(0.0, "no change", upright=True)
    for i, (row, (centre, *reach)) in enumerate(zip(rows, changes, strict=True)):
        place = len(rows) - 1 - i
        series = 2 if row.better == "B" else 1 if row.better == "A" else 0
        plot.error(place, min(reach), max(reach), series, across=True)
        plot.points([centre], [place], series)
        plot.name(place, row.label.partition("[")[0])
    texts = (f"{row.label}: {change[0]:+.3g} standard errors." for row, change in zip(rows, changes, strict=True))
    return plot.svg(" ".join(texts))


def _histogram(title: str, label: str, sets: Sequence[np.ndarray], edges: np.ndarray) -> Plot:
    most = max(float(heights(values, edges).max()) for values in sets)
    ends = float(edges[0]), float(edges[-1])
    return Plot(title, ends, (0.0, 1.08 * most), label, "share; the last bin includes all beyond")


def _titled(title: str, record: Record, several: bool) -> str:
    return f"{title}: {record.name}" if several else title
