"""The numbers of a run in sentences, and the rows of the tables of the page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ganeval.errors import number_of
from ganeval.gate.compare import Comparison, compare
from ganeval.metrics.registry import METRICS
from ganeval.parsing.layout import format_number, span
from ganeval.protocol import SCORES
from ganeval.result_files import Record
from ganeval.results import MetricResult, columns_of


def readings(record: Record) -> list[str]:
    """One sentence on each of the most important metrics."""
    return [sentence(result) for name, sentence in _SENTENCES.items() if (result := record.result(name)) is not None]


def _distance(r: MetricResult) -> str:
    text = f"{r.label} is {number(r.value, r.standard_error)}"
    if r.interval is not None:
        text += f", bias-corrected {number(r.corrected, r.standard_error)} ({_interval(r)})"
    elif r.reason:
        text += f" (no interval: {r.reason})"
    floor = r.details.get("floor")
    if isinstance(floor, Mapping):
        one, other = floor["n"]
        text += f"; reals against reals, {one} and {other} of them, are at {number(floor['value'], None)}"
    return f"{text}. 0 means equal distributions."


def _adversary(r: MetricResult) -> str:
    p = r.details.get("p_value")
    p_text = f", p\u00a0=\u00a0{p:.2g}" if isinstance(p, float) else ""
    value = number(r.value, r.standard_error) + (f" ({_interval(r)})" if r.interval is not None else "")
    return (
        f"An adversary on these features has an advantage of {value} in telling fakes from reals (0: none, 1: never "
        f"wrong{p_text})."
    )


def _share(text: str) -> Callable[[MetricResult], str]:
    return lambda r: text.format(share=_percent(r), value=r.value)


_SENTENCES: Mapping[str, Callable[[MetricResult], str]] = {
    "fid": _distance,
    "precision": _share("{share} of the fakes are in the region of the reals (precision)."),
    "recall": _share("{share} of the reals are in the region of the fakes (recall)."),
    "ind": _adversary,
    "authpct": _share(
        "{value:.1f} % of the fakes are farther from their nearest real than this real is from the next real."
    ),
}


def table(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Rows of the table of results: metric by metric, in the order of the runs."""
    names = dict.fromkeys(name for record in records for name in (*record.evaluation.results, *record.unusable))
    rows: list[dict[str, Any]] = []
    for name in names:
        for record in records:
            result = record.result(name)
            if result is None:
                rows.append({"metric": name, "run": record.name, "reason": record.unusable.get(name, "not measured")})
                continue
            row = columns_of(result)
            for column in ("value", "bias-corrected", *(("interval",) if result.interval is not None else ())):
                row[column] = _minus(row[column])
            title = METRICS[name].title if name in METRICS else name
            rows.append({**row, "run": record.name, "title": title, "measured": result.interval is not None})
    return rows


def cautions(records: Sequence[Record]) -> list[str]:
    """Sentences on numbers of the table that are not comparable."""
    names = dict.fromkeys(name for record in records for name in record.evaluation.results)
    by_name = [[r for record in records if (r := record.result(name)) is not None] for name in names]
    protocols = [rs[-1].label for rs in by_name if len({r.protocol.key() for r in rs}) > 1]
    counts = [rs[-1].label for rs in by_name if len({(r.n_real, r.n_fake) for r in rs}) > 1]
    sentences = []
    if protocols:
        sentences.append(f"Not comparable, because the protocols differ: {', '.join(protocols)}.")
    if counts:
        sentences.append(
            f"Only bias-corrected values are comparable, because the numbers of images differ: {', '.join(counts)}."
        )
    return sentences


def compared(record: Record, baseline: Record) -> Comparison:
    """Compare the metrics that both runs have, the baseline first."""
    named = [[*r.evaluation.results, *r.unusable] for r in (baseline, record)]
    return compare(baseline, record, metrics=[name for name in named[0] if name in named[1]])


def alone(record: Record, baseline: Record) -> list[str]:
    """Sentences on metrics that only one of the two runs has."""
    sentences = []
    for one, other in ((record, baseline), (baseline, record)):
        labels = [r.label for name, r in one.evaluation.results.items() if other.result(name) is None]
        if labels:
            sentences.append(f"Only {one.name} has {', '.join(labels)}.")
    return sentences


def changes(found: Comparison) -> list[dict[str, Any]]:
    """Rows of the table of changes from the baseline to a run, each difference with its interval."""
    rows: list[dict[str, Any]] = []
    for row in found.rows:
        if row.reason is not None:
            rows.append({"label": row.label, "reason": row.reason})
            continue
        before, after, step, low, high = (_minus(text) for text in row.texts())
        neither = "different" if row.differs(found.level) else "no difference beyond noise"
        verdict = {"A": "worse", "B": "better"}.get(row.better or "", neither)
        texts = {"before": before, "after": after, "step": step, "interval": f"{low} to {high}", "verdict": verdict}
        facts = {"label": row.label, "pairing": row.pairing, "note": row.note or ""}
        rows.append({**facts, **texts, "level": f"{100 * found.level:g} %", "p": f"{row.p_value:.2g}"})
    return rows


Rows = Sequence[tuple[str, Sequence[tuple[str, str]]]]


def parted(rows: Rows) -> Rows:
    """The rows that all runs share once, then the other rows of each; unchanged where there is only one run."""
    if len(rows) < 2:
        return rows
    common = [row for row in rows[0][1] if all(row in others for _, others in rows)]
    rest = [(name, [row for row in others if row not in common]) for name, others in rows]
    return [part for part in [("all runs", common), *rest] if part[1]]


def provenance(record: Record) -> list[tuple[str, str]]:
    """Protocols, image sets and machine, as rows (what, value)."""
    evaluation = record.evaluation
    rows = []
    for protocol in {r.protocol.key(): r.protocol for r in evaluation.results.values()}.values():
        weights = "no network" if protocol.weights is None else f"weights SHA-256 {protocol.weights[:16]}…"
        verified = "the published ones" if protocol.verified else "not the published ones"
        told = f"{protocol.extractor}; {protocol.resize} to {protocol.size} pixels; {protocol.scale}"
        told += f"; {protocol.precision}; {weights}, {verified}; key {protocol.key()}"
        rows.append((f"protocol {protocol.name}, layer {protocol.layer}", told))
    sets = {"REAL": evaluation.real, "FAKE": evaluation.fake, "held out": evaluation.test}
    for name, side in (sets | {"relative to": evaluation.heldout}).items():
        if side is not None and side.get("spec") is not None:
            rows.append((name, _side(side)))
    environment = evaluation.environment
    versions: Any = environment.get("versions") or {}
    rows.append(("device", str(environment.get("device", "unknown"))))
    rows.append(("versions", ", ".join(f"{k} {v}" for k, v in versions.items() if v)))
    if environment.get("commit"):
        rows.append(("commit of the working folder", str(environment["commit"])))
    rows.append(("time", f"{evaluation.elapsed_seconds:.1f} s"))
    return rows


def _side(side: Mapping[str, Any]) -> str:
    parts = [
        str(side["spec"]),
        str(side.get("kind", "")),
        number_of(int(side.get("n") or 0), "score" if side.get("kind") == SCORES else "image"),
    ]
    subset = side.get("subset")
    if isinstance(subset, Mapping) and subset.get("of"):
        parts.append(f"of {subset['of']}, seed {subset.get('seed')}")
    formats = side.get("formats")
    if isinstance(formats, Mapping) and formats:
        parts.append(", ".join(f"{count} {kind}" for kind, count in formats.items()))
    if side.get("skipped"):
        parts.append(f"{number_of(len(side['skipped']), 'unreadable file')} skipped")
    if side.get("digest"):
        parts.append(f"digest {str(side['digest'])[:16]}…")
    return "; ".join(part for part in parts if part)


def _interval(r: MetricResult) -> str:
    if r.interval is None:
        return ""
    return f"{100 * r.interval.level:g} % CI {_minus(span(r.interval.low, r.interval.high))}"


def number(value: float | None, error: float | None) -> str:
    """With as many digits as its error supports, and a dash where there is no value."""
    return "–" if value is None else _minus(format_number(value, error))


def _minus(text: str) -> str:
    """A number with a true minus sign."""
    return text.replace("-", "−")


def _percent(r: MetricResult) -> str:
    """A share with its interval, in percent."""
    if r.interval is None:
        return f"{100 * r.value:.1f} %"
    low, high = (_minus(f"{100 * end:.0f}") for end in (r.interval.low, r.interval.high))
    return f"{100 * r.value:.1f} % ({100 * r.interval.level:g} % CI {low} to {high} %)"
