"""The gate in a model's own test-suite: the fixture ``ganeval_gate`` and the marker of the same name.

    @pytest.mark.ganeval_gate(config="ganeval.toml", baseline="baseline.json")
    def test_generator(ganeval_gate):
        ganeval_gate("stats:cifar10-test", generator, num_samples=2000, value_range=(-1, 1))

The call measures and checks the rules. The test fails if the gate fails, or if it could not be judged; the report has
the gate's own words. Nothing is imported before the fixture is called.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ganeval.gate.verdict import Verdict

_MARKER = (
    "ganeval_gate(config=None, rules=None, baseline=None, **options): defaults of the fixture ganeval_gate: a "
    "configuration file or a dictionary of rules, a baseline, and options of ganeval.evaluate"
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def ganeval_gate(request: pytest.FixtureRequest) -> Callable[..., Verdict]:
    """A function that measures, checks the rules, and fails the test unless all of them pass.

    ``ganeval_gate(real, fake, **options)`` or ``ganeval_gate(results=FILE)``; see ``hold`` for the rest. Arguments of
    the marker are its defaults; paths of the marker are looked up from pytest's root folder.
    """
    defaults: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("ganeval_gate"))):
        if mark.args:
            raise pytest.UsageError("the marker ganeval_gate takes named arguments only: config=, rules=, baseline=")
        defaults |= mark.kwargs
    root = Path(request.config.rootpath)
    for name in ("config", "baseline", "results"):
        if isinstance(defaults.get(name), str | Path):
            defaults[name] = root / defaults[name]

    def call(real: object = None, fake: object = None, **options: Any) -> Verdict:
        __tracebackhide__ = True
        from ganeval.errors import GanEvalWarning
        from ganeval.gate.words import text

        with warnings.catch_warnings():
            # pytest lists them; the verdict says whether the test fails, also where its other warnings are errors
            warnings.simplefilter("default", GanEvalWarning)
            verdict = hold(real, fake, root=root, **{**defaults, **options})
        for check in verdict.checks:
            request.node.user_properties.append((f"ganeval {check.name}", check.reason))
        if verdict.exit_code:
            pytest.fail(text(verdict), pytrace=False)
        return verdict

    return call


def hold(
    real: object = None,
    fake: object = None,
    *,
    config: str | Path | None = None,
    rules: dict[str, Any] | None = None,
    root: Path | None = None,
    **options: Any,
) -> Verdict:
    """Measure ``real`` and ``fake`` (or take ``results=``), and judge.

    Args:
        config: a file with rules; None for ganeval.toml or pyproject.toml in ``root``.
        rules: a table of rules in place of the file's.
        root: where the file is looked for.
        options: ``protocol``, ``on_inconclusive``, ``strict``, ``weights_sha256`` of the gate, ``results`` and
            ``baseline``, and whatever ``ganeval.evaluate`` takes.

    Raises:
        GanEvalError: rules, files or images that cannot be used.
    """
    from ganeval.cli.config import find_config, without_schema
    from ganeval.gate.rules import Gate, checked_table, parse_gate, parse_rules
    from ganeval.gate.run import run_gate

    where, table = "rules", {}
    if config is not None or rules is None:
        found = find_config(str(config) if config is not None else None, root=root)
        if found is not None:
            content = without_schema(found[1], found[0])
            where, table = str(found[0]), checked_table(content.get("gate", {}), str(found[0]))
    chosen: dict[str, Any] = {}
    for name in ("protocol", "on_inconclusive", "strict", "weights_sha256"):
        if (value := options.pop(name, table.get(name.replace("_", "-")))) is not None:
            chosen[name] = value
    gate = Gate(rules=parse_rules(rules, where) if rules is not None else parse_gate(table, where), **chosen)
    return run_gate(gate, real, fake, **options).verdict
