"""The rules of a gate, from ``[gate]`` of ganeval.toml or ``[tool.ganeval.gate]`` of pyproject.toml.

Every mistake in a rule is found here, before anything is measured: an unknown metric or key, a limit that is not a
finite number, a rule without a limit.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from ganeval.errors import ConfigError
from ganeval.metrics.registry import get_metric
from ganeval.parsing.documents import DocumentError, plain, typed
from ganeval.protocol import WAVELETS, get_protocol

ON_INCONCLUSIVE = ("error", "fail", "pass")
TABLES = ("rules", "scores")  # of [gate]: by metric, and by column of scores

Limit = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]


class Regression(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much worse than the baseline a metric may become: ``{ abs = NUMBER }`` or ``{ rel = SHARE }``."""

    abs: Limit | None = None
    rel: Limit | None = None

    def __post_init__(self) -> None:
        if (self.abs is None) == (self.rel is None):
            raise ValueError("expected { abs = NUMBER } or { rel = SHARE }, one of them")

    @property
    def relative(self) -> bool:
        """Whether ``amount`` is a share of the baseline's value, not in the metric's own units."""
        return self.rel is not None

    @property
    def amount(self) -> float:
        return self.rel if self.rel is not None else self.abs or 0.0


class RuleTable(msgspec.Struct, frozen=True, kw_only=True, rename="kebab", forbid_unknown_fields=True):
    """``[gate.rules.METRIC]``: the requirements on one metric.

    Attributes:
        max, min: limits of its value.
        max_regression: limit of the change from the baseline.
        min_samples: smallest number of images of either set that counts as a sample.
        level: confidence level of the one-sided bound that decides.
        compare: ``corrected``: the value without its bias; ``value``: the plain one, for a paper's limit at the same n.
        source: where the limits come from; shown when the rule fails.
    """

    max: Limit | None = None
    min: Limit | None = None
    max_regression: Regression | None = None
    min_samples: Annotated[int, msgspec.Meta(ge=1, le=2**53)] = 2
    level: Annotated[float, msgspec.Meta(ge=0.5, lt=1)] = 0.95
    compare: Literal["corrected", "value"] = "corrected"
    source: str | None = None

    def __post_init__(self) -> None:
        if self.max is None and self.min is None and self.max_regression is None:
            raise ValueError("the rule sets no limit: give it max, min or max-regression")
        if self.max is not None and self.min is not None and self.min > self.max:
            raise ValueError(f"no value lies between min = {self.min:g} and max = {self.max:g}")


class Rule(RuleTable, frozen=True, kw_only=True):
    """The same, with the name of the metric in the registry, or of the column of scores.

    Attributes:
        scores: whether it is of a column that ``ganeval scores`` measured.
    """

    metric: str
    scores: bool = False

    @property
    def of_features(self) -> bool:
        """Whether its limit is valid for one protocol of features alone."""
        metric = None if self.scores else get_metric(self.metric)
        return metric is not None and metric.of_sets and metric.protocol != WAVELETS


class GateTable(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """``[gate]`` of ganeval.toml; its other keys are options of the command."""

    rules: dict[str, RuleTable] = {}
    scores: dict[str, RuleTable] = {}
    protocol: str | None = None
    weights_sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8,64}$")] | None = None
    on_inconclusive: Literal["error", "fail", "pass"] = "error"
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """All rules, and the protocol that they are for.

    Attributes:
        rules: one per metric or column of scores.
        protocol: name of the protocol of the limits.
        weights_sha256: beginning of the hash of the network's weights, where they are not the published ones.
        on_inconclusive: what an interval that spans its limit counts as.
        strict: the point value decides; the interval is only shown.
    """

    rules: tuple[Rule, ...]
    protocol: str | None = None
    weights_sha256: str | None = None
    on_inconclusive: str = "error"
    strict: bool = False

    def __post_init__(self) -> None:
        if not self.rules:
            raise ConfigError(
                "there are no rules. Write some in ganeval.toml, for instance [gate.rules.fid] with max = 25.0 "
                "(in pyproject.toml [tool.ganeval.gate.rules.fid]), or name the file with --config."
            )
        if self.on_inconclusive not in ON_INCONCLUSIVE:
            raise ConfigError(
                f"on-inconclusive is {self.on_inconclusive!r}; expected one of {', '.join(ON_INCONCLUSIVE)}."
            )
        if self.protocol is not None:
            get_protocol(self.protocol)
        elif any((rule.max is not None or rule.min is not None) and rule.of_features for rule in self.rules):
            raise ConfigError(
                'a limit is valid for one protocol: name it with protocol = "compact" (or another) in [gate], or with '
                "--protocol."
            )
        if (prefix := self.weights_sha256) is not None and not (
            8 <= len(prefix) <= 64 and set(prefix) <= set("0123456789abcdef")
        ):
            raise ConfigError(f"weights-sha256 is {prefix!r}; expected 8 to 64 hexadecimal digits, in lower case.")

    @property
    def needs_baseline(self) -> bool:
        return any(rule.max_regression is not None for rule in self.rules)


def checked_table(table: object, where: str) -> dict[str, Any]:
    """``[gate]`` of a file, with every value checked against ``GateTable``; ``parse_rules`` checks the rules.

    Raises:
        ConfigError: a value of another type; the message names the place.
    """
    try:
        values = plain(table, not_finite=True)
        typed({k: v for k, v in values.items() if k not in TABLES} if isinstance(values, dict) else values, GateTable)
    except DocumentError as error:
        raise ConfigError(f"{where}, table [gate]: {error}.") from error
    return dict(values)


def parse_gate(table: Mapping[str, Any], where: str) -> tuple[Rule, ...]:
    """The rules of the tables ``rules`` and ``scores`` of ``[gate]``; errors as ``parse_rules``."""
    return parse_rules(table.get("rules"), where) + parse_rules(table.get("scores"), where, scores=True)


def parse_rules(table: object, where: str = "the rules", *, scores: bool = False) -> tuple[Rule, ...]:
    """The rules of the table ``rules``, which has one table per metric, or of ``scores``, with one per column.

    Args:
        table: from TOML or from a Python dictionary; None: no rules.
        where: the file, for messages.
        scores: whether the names are of columns of scores.

    Raises:
        ConfigError: an unknown metric or key, a value of the wrong type, a limit that is not finite; the message names
            the place.

    >>> parse_rules({"fid": {"max": 25.0, "max-regression": {"rel": 0.05}}})[0].max_regression
    Regression(amount=0.05, relative=True)
    """
    if table is None:
        return ()
    try:
        values = plain(table, not_finite=True)
        for name in values if isinstance(values, dict) and not scores else ():
            get_metric(name)
        tables = typed({"scores" if scores else "rules": values}, GateTable)
        found = tables.scores if scores else tables.rules
    except DocumentError as error:
        raise ConfigError(f"{where}: {error}.{_HINT}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}, rules: {error}") from error
    return tuple(Rule(metric=name, scores=scores, **msgspec.structs.asdict(rule)) for name, rule in found.items())


_HINT = " For instance [gate.rules.fid] with max = 25.0."
