"""Results in the forms that papers, tables and model cards take: CSV, LaTeX, Markdown, Hugging Face."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ganeval.errors import ConfigError, InputError
from ganeval.parsing.layout import markdown_table
from ganeval.report.table import as_cell
from ganeval.results import Evaluation, MetricResult, columns_of

FORMS = ("csv", "latex", "markdown", "hf-eval-results", "model-index")
_TASK = "unconditional-image-generation"
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
}


def exported(
    runs: Mapping[str, Evaluation],
    form: str,
    *,
    dataset: str | None = None,
    task: str | None = None,
    model: str | None = None,
) -> str:
    """The text of one of ``FORMS``.

    Args:
        runs: by the names that tables give them.
        dataset: the id of the data set on the hub, for the forms of Hugging Face.
        task: the task of the benchmark, for ``hf-eval-results``; None: the name of each metric.
        model: the name of the model, for ``model-index``.

    Raises:
        InputError: there is no result.
        ConfigError: an argument that the form needs is missing, or one is given that it does not use.
    """
    _require(form, dataset=dataset, task=task, model=model)
    if not any(run.results for run in runs.values()):
        raise InputError("there is no result to export. Pass a file that ganeval wrote with --output.")
    if form == "csv":
        return _csv(runs)
    if form == "latex":
        return _latex(runs)
    if form == "markdown":
        rows = _rows(runs)
        return markdown_table(list(rows[0]), [list(row.values()) for row in rows]) + "\n"
    results = [result for run in runs.values() for result in run.results.values()]
    if form == "hf-eval-results":
        return _yaml([_hub_entry(result, str(dataset), task) for result in results])
    index = {"name": model, "results": [_hub_result(results, str(dataset))]}
    return f"---\n{_yaml({'model-index': [index]})}---\n"


def _require(form: str, **given: str | None) -> None:
    needed = {"hf-eval-results": {"dataset"}, "model-index": {"dataset", "model"}}.get(form, set())
    used = needed | ({"task"} if form == "hf-eval-results" else set())
    if missing := sorted(name for name in needed if given[name] is None):
        raise ConfigError(f"the form {form} needs --{missing[0]}.")
    if idle := sorted(name for name, value in given.items() if value is not None and name not in used):
        raise ConfigError(f"--{idle[0]} has no effect on the form {form}. Leave it out.")


def _csv(runs: Mapping[str, Evaluation]) -> str:
    """Every number with all its digits, one row per run and metric."""
    records = [{"run": as_cell(name), **record} for name, run in runs.items() for record in run.to_records()]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def _rows(runs: Mapping[str, Evaluation]) -> list[dict[str, str]]:
    """What people read, one row per run and metric; the run is named where there are several."""
    named = len(runs) > 1
    return [
        {**({"run": name} if named else {}), **columns_of(result)}
        for name, run in runs.items()
        for result in run.results.values()
    ]


def _latex(runs: Mapping[str, Evaluation]) -> str:
    """A table for the package booktabs; which direction is better stands next to the metric as an arrow."""
    arrows = {"higher": r" $\uparrow$", "lower": r" $\downarrow$"}
    lines = []
    for row in _rows(runs):
        better = row.pop("better")
        cells = {name: _escaped(text) for name, text in row.items()}
        cells["metric"] += arrows.get(better, "")
        lines.append(cells)
    head = list(lines[0])
    body = [" & ".join(cells.values()) + r" \\" for cells in lines]
    left = len(head) - 1 - head.index("value")
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{'l' * head.index('value')}r{'l' * left}}}",
            r"\toprule",
            " & ".join(head) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _hub_entry(result: MetricResult, dataset: str, task: str | None) -> dict[str, Any]:
    """An entry of ``.eval_results/*.yaml``."""
    return {
        "dataset": {"id": dataset, "task_id": task or result.name},
        "value": result.value,
        "notes": str(result),
    }


def _hub_result(results: Iterable[MetricResult], dataset: str) -> dict[str, Any]:
    """The results on one data set in the ``model-index`` of a model card."""
    metrics = []
    for result in results:
        interval = result.interval
        settings = {
            "protocol": result.protocol.told(),
            "comparison_key": result.comparison_key(),
            "n_real": result.n_real,
            "n_fake": result.n_fake,
            "standard_error": result.standard_error,
            "corrected": result.corrected,
            "interval": None if interval is None else [interval.low, interval.high],
            "level": None if interval is None else interval.level,
        }
        kept = {name: value for name, value in settings.items() if value is not None}
        metrics.append({"type": result.name, "name": result.label, "value": result.value, "args": kept})
    return {"task": {"type": _TASK}, "dataset": {"type": dataset, "name": dataset}, "metrics": metrics}


def _yaml(value: Any, indent: int = 0) -> str:
    """Block YAML of dictionaries and lists; scalars, and lists of them, as JSON, which YAML reads."""
    space = "  " * indent
    if isinstance(value, Mapping):
        lines = []
        for key, entry in value.items():
            nested = isinstance(entry, Mapping) or _is_block(entry)
            lines.append(
                f"{space}{key}:\n{_yaml(entry, indent + 1)}" if nested else f"{space}{key}: {_scalar(entry)}\n"
            )
        return "".join(lines)
    return "".join(f"{space}- {_yaml(entry, indent + 1).lstrip(' ')}" for entry in value)


def _is_block(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(one, Mapping) for one in value)


def _scalar(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
