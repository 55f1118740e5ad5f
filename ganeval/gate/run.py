"""Run a gate: rules, a measurement or a file of results, a baseline, a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ganeval.engine.config import EvaluationConfig, all_options
from ganeval.engine.paired_config import PairedConfig
from ganeval.errors import ConfigError, IncomparableError, InputError, NotEnoughSamplesError
from ganeval.files import require_writable
from ganeval.gate.rules import Gate
from ganeval.gate.verdict import Verdict, judge, require_baseline, unmeasured
from ganeval.metrics.registry import get_metric
from ganeval.parsing.arguments import option, options_of
from ganeval.result_files import Record, read_record, write_record
from ganeval.results import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRun:
    """A verdict and its run.

    Attributes:
        record: the run; None where nothing could be measured.
        updated: the baseline file that this run was written to.
        not_updated: why the baseline could not be written.
    """

    verdict: Verdict
    record: Record | None
    updated: Path | None = None
    not_updated: str | None = None


def run_gate(
    gate: Gate,
    real: object = None,
    fake: object = None,
    *,
    results: str | Path | Record | None = None,
    baseline: str | Path | None = None,
    update_baseline: bool = False,
    **options: Any,
) -> GateRun:
    """Measure the metrics of the rules, or take ``results``, and check them against the rules.

    Mistakes in rules and files are found before anything is measured.

    Args:
        real, fake: as ``evaluate`` takes them.
        results: an existing run, instead of ``real`` and ``fake``.
        baseline: a file that ganeval wrote.
        update_baseline: replace the baseline by this run, unless a limit fails. Regressions then do not count.
        options: of ``evaluate``; where the rules are of pairs of images, of ``paired``.

    Raises:
        ConfigError: rules and arguments contradict each other.
        InputError: a file or images cannot be used.
    """
    if update_baseline and baseline is None:
        raise ConfigError("--update-baseline needs the file to write: --baseline FILE.json.")
    if (results is None) == (fake is None):
        raise ConfigError("a gate takes either REAL and FAKE or --results FILE.json. Pass one of the two.")
    path = Path(baseline) if baseline is not None else None
    if update_baseline and path is not None:
        require_writable(path)
    record = None
    if results is not None:
        record = results if isinstance(results, Record) else read_record(results)
    gate, left_out = _of_its_kind(gate, record)
    before = read_record(path) if path is not None and (path.exists() or not update_baseline) else None
    require_baseline(gate, before, accept=update_baseline)
    if record is None:
        try:
            record = Record.of(_measured(gate, real, fake, options))
        except (NotEnoughSamplesError, IncomparableError) as error:
            return GateRun(verdict=unmeasured(gate, str(error)), record=None)
    verdict = judge(gate, record, before, accept=update_baseline)
    verdict = replace(verdict, warnings=(*verdict.warnings, *left_out))
    updated = not_updated = None
    if update_baseline and path is not None and verdict.exit_code == 0:
        try:
            write_record(record.evaluation, path, arrays=record.arrays)
            updated = path
        except InputError as error:
            not_updated = str(error)
    return GateRun(verdict=verdict, record=record, updated=updated, not_updated=not_updated)


def _measured(gate: Gate, real: object, fake: object, options: Mapping[str, Any]) -> Evaluation:
    """The metrics of the rules, of pairs of images or of two sets.

    Raises:
        ConfigError: rules of both kinds, no protocol, or an option that has no effect on rules of this kind.
    """
    from ganeval.api import evaluate, paired

    names = tuple(rule.metric for rule in gate.rules)
    of_pairs = [name for name in names if get_metric(name).pairs]
    if of_pairs and len(of_pairs) < len(names):
        others = ", ".join(name for name in names if name not in of_pairs)
        raise ConfigError(
            f"one measurement has rules of pairs of images ({', '.join(of_pairs)}) and of image sets ({others}). Write "
            "them in two files and name each with --config."
        )
    every = {**options_of(PairedConfig), **all_options(EvaluationConfig)}
    known = options_of(PairedConfig) if of_pairs else all_options(EvaluationConfig)
    given = {name: value for name, value in options.items() if name not in every or not _is(value, every[name].default)}
    if useless := [name for name in given if name in every and name not in known and name != "cache"]:
        raise ConfigError(f"{option(useless[0])} has no effect on rules of {', '.join(names)}. Omit it.")
    if of_pairs:
        return paired(real, fake, metrics=names, **{k: v for k, v in given.items() if k != "cache"})
    if gate.protocol is None:
        raise ConfigError("a gate that measures needs a protocol: set protocol in [gate], or pass --protocol.")
    return evaluate(real, fake, metrics=names, protocol=gate.protocol, **given)


def _is(value: object, default: object) -> bool:
    """Whether an option has its default; what is given as images may be an array, which has no plain equality."""
    return value is default or (isinstance(value, str | int | float | tuple) and value == default)


def _of_its_kind(gate: Gate, record: Record | None) -> tuple[Gate, tuple[str, ...]]:
    """The rules for the kind of a run, scores or images, and a warning that names the others.

    Args:
        record: the run; None: of images that are still to be measured.

    Raises:
        ConfigError: there is no rule of this kind.
    """
    scores = record is not None and record.evaluation.real is None
    rules = tuple(rule for rule in gate.rules if rule.scores == scores)
    others = [rule.metric for rule in gate.rules if rule.scores != scores]
    if not rules:
        what, table, advice = "images", "rules", "Pass the result of `ganeval scores`: --results FILE.json."
        if scores:
            what, table, advice = "scores", "scores", "Write some, for instance [gate.scores.NAME] with min = 0.5."
        raise ConfigError(f"this run is of {what}, and there are no rules in [gate.{table}]. {advice}")
    kind = "images" if scores else "scores"
    left_out = (f"the rules of {', '.join(others)} are of {kind} and were not checked",) if others else ()
    return replace(gate, rules=rules), left_out


def document(run: GateRun) -> Mapping[str, Any]:
    """The JSON document of the run, which can be a baseline, with the verdict under ``gate``."""
    fields = {} if run.record is None else run.record.evaluation.to_dict()
    return {**fields, "gate": run.verdict.to_dict()}
