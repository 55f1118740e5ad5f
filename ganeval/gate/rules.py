"""What must hold: the rules of a gate, from ``[gate]`` of ganeval.toml or ``[tool.ganeval.gate]`` of pyproject.toml.

Everything about a rule that could be wrong is found here, before anything is measured: an unknown metric or key, a
limit that is no finite number, a rule without a limit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from ganeval.errors import ConfigError
from ganeval.metrics.registry import get_metric
from ganeval.protocol import get_protocol

KEYS = ("max", "min", "max-regression", "min-samples", "level", "compare", "source")
ON_INCONCLUSIVE = ("error", "fail", "pass")
COMPARE = ("corrected", "value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """How much worse than the baseline a metric may become: ``amount`` in its own units, or, ``relative``, as a share
    of the baseline's value."""

    amount: float
    relative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What must hold of one metric.

    Attributes:
        metric: its name in the registry, which also knows which direction is the better one.
        max, min: limits of its value.
        max_regression: against the baseline.
        min_samples: fewest images of either side that are a sample.
        level: of the one-sided bound that decides.
        compare: ``corrected``: the value without its bias; ``value``: the plain one, for a paper's limit at the same n.
        source: where the limits come from; told when the rule fails.
    """

    metric: str
    max: float | None = None
    min: float | None = None
    max_regression: Regression | None = None
    min_samples: int = 2
    level: float = 0.95
    compare: str = "corrected"
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """All rules, and what they hold for.

    Attributes:
        rules: one a metric.
        protocol: name of the protocol that the limits were made under.
        weights_sha256: beginning of the hash of the network's weights, where they are not the published ones.
        on_inconclusive: what an interval that spans its limit counts as.
        strict: the point value decides, the interval is only told.
    """

    rules: tuple[Rule, ...]
    protocol: str | None = None
    weights_sha256: str | None = None
    on_inconclusive: str = "error"
    strict: bool = False

    def __post_init__(self) -> None:
        if not self.rules:
            raise ConfigError(
                "there are no rules to hold. Write some in ganeval.toml, for instance [gate.rules.fid] with max = 25.0 "
                "(in pyproject.toml [tool.ganeval.gate.rules.fid]), or name the file with --config."
            )
        if self.on_inconclusive not in ON_INCONCLUSIVE:
            raise ConfigError(f"on-inconclusive is one of {', '.join(ON_INCONCLUSIVE)}; got {self.on_inconclusive!r}.")
        if self.protocol is not None:
            get_protocol(self.protocol)
        elif any(rule.max is not None or rule.min is not None for rule in self.rules):
            raise ConfigError(
                'a limit holds for one protocol: say which, with protocol = "compact" (or another) in [gate], or with '
                "--protocol."
            )
        if (prefix := self.weights_sha256) is not None and not (
            8 <= len(prefix) <= 64 and set(prefix) <= set("0123456789abcdef")
        ):
            raise ConfigError(f"weights-sha256 is 8 to 64 hexadecimal digits, in small letters; got {prefix!r}.")

    @property
    def needs_baseline(self) -> bool:
        return any(rule.max_regression is not None for rule in self.rules)


def parse_rules(table: object, where: str = "the rules") -> tuple[Rule, ...]:
    """The table ``rules``: one table a metric.

    Args:
        table: what TOML, or a Python dictionary, holds under ``rules``; None for nothing.
        where: the file, for messages.

    Raises:
        ConfigError: an unknown metric or key, a value of the wrong kind, a limit that is not finite.

    >>> parse_rules({"fid": {"max": 25.0, "max-regression": {"rel": 0.05}}})[0].max_regression
    Regression(amount=0.05, relative=True)
    """
    if table is None:
        return ()
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: rules is a table with one table a metric, for instance [gate.rules.fid].")
    return tuple(_rule(str(name), entry, f"{where}, rule {name}") for name, entry in table.items())


def _rule(name: str, entry: object, where: str) -> Rule:
    try:
        get_metric(name)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{where}: a rule is a table, for instance {{ max = 25.0 }}; got {entry!r}.")
    for key in entry:
        if key not in KEYS:
            close = get_close_matches(str(key), KEYS, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise ConfigError(f"{where}: there is no key {key!r}; there are {', '.join(KEYS)}.{hint}")
    low, high = (_finite(entry.get(key), f"{where}, {key}") for key in ("min", "max"))
    regression = _regression(entry.get("max-regression"), f"{where}, max-regression")
    if low is None and high is None and regression is None:
        raise ConfigError(f"{where} sets no limit: give it max, min or max-regression.")
    if low is not None and high is not None and low > high:
        raise ConfigError(f"{where}: no value lies between min = {low:g} and max = {high:g}.")
    least, level = entry.get("min-samples", 2), entry.get("level", 0.95)
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        raise ConfigError(f"{where}: min-samples is a whole number from 1 on; got {least!r}.")
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0.5 <= level < 1:
        raise ConfigError(f"{where}: level is a number from 0.5 to below 1, usually 0.95; got {level!r}.")
    compare, source = entry.get("compare", "corrected"), entry.get("source")
    if compare not in COMPARE:
        raise ConfigError(f"{where}: compare is one of {', '.join(COMPARE)}; got {compare!r}.")
    if source is not None and not isinstance(source, str):
        raise ConfigError(f"{where}: source is a text that says where the limits come from; got {source!r}.")
    return Rule(
        metric=name, max=high, min=low, max_regression=regression, min_samples=least, level=float(level),
        compare=compare, source=source,
    )  # fmt: skip


def _finite(value: Any, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f"{where} is a finite number; got {value!r}. A limit of nan or inf holds nothing back.")
    return float(value)


def _regression(entry: object, where: str) -> Regression | None:
    if entry is None:
        return None
    if not isinstance(entry, Mapping) or len(entry) != 1 or not set(entry) <= {"abs", "rel"}:
        raise ConfigError(f"{where} is {{ abs = NUMBER }} or {{ rel = SHARE }}, one of them; got {entry!r}.")
    ((kind, value),) = entry.items()
    amount = _finite(value, f"{where}, {kind}")
    if amount is None:
        raise ConfigError(f"{where}, {kind} is a finite number; got nothing.")
    return Regression(amount=amount, relative=kind == "rel")
