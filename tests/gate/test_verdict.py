"""The verdict: the interval decides, and what cannot be judged never passes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.gates import COMPACT, gate, record, result, run_of

from ganeval.errors import ConfigError
from ganeval.gate.checks import Check
from ganeval.gate.verdict import Verdict, judge, unmeasured
from ganeval.parsing.layout import to_json
from ganeval.result_files import Record
from ganeval.results import MetricResult


def one(rules: Mapping[str, Any], found: MetricResult, before: Record | None = None, **options: Any) -> Check:
    verdict = judge(gate({found.name: rules}, **options), record(found), before)
    to_json(verdict.to_dict())  # finite everywhere
    (check,) = verdict.checks
    return check


@pytest.mark.parametrize(
    ("rules", "value", "expected"),
    [
        ({"max": 12.0}, 10.0, "pass"),
        ({"max": 11.5}, 10.0, "inconclusive"),  # 10 + 1.645
        ({"max": 8.5}, 10.0, "inconclusive"),
        ({"max": 8.0}, 10.0, "fail"),
        ({"min": 8.0}, 10.0, "pass"),
        ({"min": 9.0}, 10.0, "inconclusive"),
        ({"min": 12.0}, 10.0, "fail"),
        ({"max": 11.5, "level": 0.9}, 10.0, "pass"),  # 10 + 1.282
        ({"max": 8.5, "level": 0.9}, 10.0, "fail"),
    ],
)
def test_the_interval_decides(rules: dict[str, float], value: float, expected: str) -> None:
    assert one(rules, result(value)).status == expected


def test_corrected_or_plain() -> None:
    found = result(10.0, 0.1, bias=2.0)
    assert one({"max": 9.0}, found).outcome == "pass"
    assert one({"max": 9.0, "compare": "value"}, found).outcome == "fail"
    assert one({"max": 9.0, "compare": "value"}, found).measured == 10.0


def test_strict_takes_the_point() -> None:
    assert one({"max": 10.5}, result(10.0), strict=True).outcome == "pass"
    assert one({"max": 9.5}, result(10.0), strict=True).outcome == "fail"
    assert one({"max": 9.5}, result(10.0, None), strict=True).outcome == "fail"
    told = one({"max": 9.5}, result(10.0), strict=True)
    assert told.bound == pytest.approx(11.645, abs=1e-3)  # both are told
    assert "strict" in told.reason


@pytest.mark.parametrize(
    ("choice", "outcome", "code"), [("error", "inconclusive", 3), ("fail", "fail", 1), ("pass", "pass", 0)]
)
def test_on_inconclusive(choice: str, outcome: str, code: int) -> None:
    verdict = judge(gate({"fid": {"max": 10.5}}, on_inconclusive=choice), record(result(10.0)))
    assert verdict.checks[0].status == "inconclusive"
    assert verdict.checks[0].outcome == outcome
    assert verdict.exit_code == code


OTHER = replace(COMPACT, resize="pil-bicubic-float")


@pytest.mark.parametrize("options", [{}, {"on_inconclusive": "pass"}, {"strict": True}])
@pytest.mark.parametrize(
    ("found", "rules", "why"),
    [
        (record(), {}, "not among the results"),
        (record(unusable={"fid": "its value is nan"}), {}, "is not a number in .*: its value is nan"),
        (record(result(1.0, n=99)), {"min-samples": 100}, "n_fake = 99"),
        (record(result(1.0, n_real=99)), {"min-samples": 100}, "n_real = 99"),
        (record(result(1.0, protocol=OTHER)), {}, "another protocol.*resize"),
        (record(result(1.0, protocol=replace(COMPACT, verified=False))), {}, "not have the published weights"),
    ],
)
def test_what_never_passes(options: dict[str, Any], found: Record, rules: dict[str, Any], why: str) -> None:
    """Not with the best of numbers, and whatever on-inconclusive or strict say."""
    import re

    verdict = judge(gate({"fid": {"max": 1e9, **rules}}, **options), found)
    (check,) = verdict.checks
    assert (check.outcome, check.judged, verdict.exit_code) == ("inconclusive", False, 3)
    assert re.search(why, check.reason)


def test_no_interval_never_passes_and_says_how_many_would_give_one() -> None:
    check = one({"max": 1e9}, result(1.0, None), on_inconclusive="pass")
    assert (check.outcome, check.judged) == ("inconclusive", False)
    assert "too few fake images" in check.reason
    assert check.needed == 641


def test_weights_of_ones_own_can_be_named() -> None:
    own = result(1.0, protocol=replace(COMPACT, weights="abcdef12" * 8, verified=False))
    assert one({"max": 1e9}, own, weights_sha256="abcdef12").outcome == "pass"
    assert one({"max": 1e9}, own, weights_sha256="abcdef13").judged is False


def test_reals_that_are_the_target_need_not_be_many() -> None:
    assert one({"max": 99, "min-samples": 500}, result(n_real=99, estimand="population-given-reference")).judged
    assert not one({"max": 99, "min-samples": 500}, result(n_real=99)).judged


def test_metrics_of_another_layer_are_of_the_same_protocol() -> None:
    found = result(5.0, name="is", n_real=None)
    assert found.protocol.layer == "logits-1"
    assert one({"min": 1.0}, found).outcome == "pass"


def test_failure_goes_before_what_could_not_be_judged() -> None:
    rules = {"fid": {"max": 1.0}, "kid": {"max": 1.0}, "is": {"min": 1.0}}
    verdict = judge(gate(rules), record(result(10.0, 0.1), result(5.0, 0.1, name="is", n_real=None)))
    assert [c.outcome for c in verdict.checks] == ["fail", "inconclusive", "pass"]
    assert verdict.exit_code == 1
    assert unmeasured(gate(rules), "too few").exit_code == 3


# --- regressions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rules", "before", "after", "expected"),
    [
        ("fid", {"abs": 1.0}, 10.0, 10.5, "pass"),
        ("fid", {"abs": 1.0}, 10.0, 11.0, "inconclusive"),
        ("fid", {"abs": 1.0}, 10.0, 11.5, "fail"),
        ("fid", {"rel": 0.1}, 10.0, 10.5, "pass"),
        ("fid", {"rel": 0.1}, 10.0, 11.5, "fail"),
        ("is", {"abs": 1.0}, 10.0, 9.5, "pass"),
        ("is", {"abs": 1.0}, 10.0, 8.5, "fail"),
        ("is", {"rel": 0.1}, 10.0, 9.5, "pass"),
        ("is", {"rel": 0.1}, 10.0, 8.5, "fail"),
        ("is", {"rel": 0.1}, 10.0, 30.0, "pass"),
        ("fid", {"abs": -1.0}, 10.0, 10.0, "fail"),  # it had to become better by 1
        ("fid", {"abs": -1.0}, 10.0, 8.0, "pass"),
    ],
)
def test_regressions(name: str, rules: dict[str, float], before: float, after: float, expected: str) -> None:
    old, new = (result(v, 0.1, name=name) for v in (before, after))
    check = one({"max-regression": rules}, new, record(old))
    assert check.status == expected
    assert check.baseline == pytest.approx(before)
    assert check.measured == pytest.approx(after - before)
    assert check.pairing == "independent"
    assert check.bound is not None
    assert check.limit is not None
    passes = check.bound >= check.limit if name == "is" else check.bound <= check.limit
    assert passes == (expected == "pass")  # what is told is what decided


def test_a_relative_limit_counts_the_error_of_the_baseline() -> None:
    """B - 1.5 A has the error sqrt(1 + 1.5^2)."""
    check = one({"max-regression": {"rel": 0.5}}, result(10.0, 1.0), record(result(10.0, 1.0)))
    assert check.standard_error == pytest.approx(np.hypot(1.0, 1.5))


def test_a_share_of_nothing_is_not_judged() -> None:
    check = one(
        {"max-regression": {"rel": 0.05}}, result(0.01, 0.1, name="kid"), record(result(-0.01, 0.1, name="kid"))
    )
    assert not check.judged
    assert "abs" in check.reason


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (record(), "not among the results of the baseline"),
        (record(unusable={"fid": "its value is nan"}), "not a number in the results of the baseline"),
        (record(result(reference="other")), "reference: other against r1"),
        (record(result(protocol=OTHER)), "another protocol"),
        (record(result(10.0, None)), "the first has no interval"),
    ],
)
def test_baselines_that_do_not_serve(before: Record, why: str) -> None:
    check = one({"max-regression": {"abs": 100}}, result(), before, on_inconclusive="pass")
    assert (check.outcome, check.judged) == ("inconclusive", False)
    assert why in check.reason


def test_a_rule_that_needs_a_baseline_iv() -> None:
    with pytest.raises(ConfigError, match="max-regression of fid needs a baseline"):
        judge(gate({"fid": {"max-regression": {"abs": 1}}}), record(result()))


def test_strict_regressions_need_equal_numbers_of_images() -> None:
    rules = {"max-regression": {"abs": 1.0}}
    assert one(rules, result(10.5, None), record(result(10.0, None)), strict=True).outcome == "pass"
    assert one(rules, result(11.5, None), record(result(10.0, None)), strict=True).outcome == "fail"
    assert not one(rules, result(10.5, None), record(result(10.0, None, n=500)), strict=True).judged


def test_accepting_a_new_baseline() -> None:
    """Regressions decide nothing then; limits still do, and so does a number that is missing."""
    rules = gate({"fid": {"max": 100.0, "max-regression": {"abs": 1.0}}})
    worse = judge(rules, record(result(50.0, 0.1)), record(result(10.0, 0.1)), accept=True)
    assert [c.outcome for c in worse.checks] == ["pass", "fail"]
    assert [c.accepted for c in worse.checks] == [False, True]
    assert worse.exit_code == 0
    assert judge(rules, record(result(50.0, 0.1)), None, accept=True).exit_code == 0
    assert judge(rules, record(result(150.0, 0.1)), None, accept=True).exit_code == 1
    only = gate({"fid": {"max-regression": {"abs": 1.0}}})
    assert judge(only, record(unusable={"fid": "its value is nan"}), None, accept=True).exit_code == 3


# --- how many would decide it -------------------------------------------------------------------------------------


def test_planner_of_an_absolute_limit() -> None:
    """The truth 1 below the limit, error 1 at n = 1000: 1.1 (2.926)^2 x 1000 fakes where the reference adds nothing."""
    check = one({"max": 11.0}, result(10.0))
    assert check.needed == pytest.approx(1.1 * 1000 * 2.9264**2, rel=1e-3)
    assert f"{check.needed} fakes would decide it" in check.reason


def test_planner_of_a_regression_and_its_end() -> None:
    random = np.random.default_rng(0)
    fake, real = random.standard_normal(1000), 40 * random.standard_normal(1000)
    old = run_of("fid", 10.0, fake, real)
    new = run_of("fid", 10.05, fake, real)
    arrays = {"fid_influence_fake": fake - fake.mean(), "fid_influence_real": real - real.mean()}
    shared = {**arrays, "real_image_digests": np.arange(1000, dtype=np.uint64)}
    rules = gate({"fid": {"max-regression": {"abs": 0.1}}})
    (check,) = judge(rules, record(new, arrays=shared), record(old, arrays=shared)).checks
    assert check.pairing == "shared reference"
    assert check.needed == pytest.approx(1.1 * 2 * np.var(fake, ddof=1) * 2.9264**2 / 0.1**2, rel=1e-3)
    assert "if the two models are equally good" in check.reason
    (check,) = judge(rules, record(new, arrays=arrays), record(old, arrays=arrays)).checks
    assert check.pairing == "independent"
    assert check.needed is None
    assert "no number of fakes" in check.reason


# --- sanity -----------------------------------------------------------------------------------------------------


def warnings(found: Record, before: Record | None = None) -> str:
    return "\n".join(judge(gate({"fid": {"max": 1e9}}), found, before).warnings)


def test_implausibly_good_numbers_get_a_warning() -> None:
    own = record(result())
    copies = replace(own, evaluation=replace(own.evaluation, warnings=("9 of 10 fake images are exact copies",)))
    assert warnings(copies) == "9 of 10 fake images are exact copies"
    assert "is below 0: the fakes are closer" in warnings(record(result(-5.0, 1.0)))
    assert "changed from 100 to 10" in warnings(record(result(10.0)), record(result(100.0)))
    assert "bit for bit" in warnings(*[replace(record(result()), evaluation=replace(
        record(result()).evaluation, fake={"digest": "same"}))] * 2)  # fmt: skip
    assert warnings(record(result(90.0)), record(result(100.0))) == ""
    assert warnings(record(result(10.0, 40.0)), record(result(100.0, 40.0))) == ""


def test_document_holds_every_check() -> None:
    verdict: Verdict = judge(gate({"fid": {"max": 12.0}, "kid": {"max": 1}}), record(result()))
    document = json.loads(to_json(verdict.to_dict()))
    assert document["verdict"] == "inconclusive"
    assert document["exit_code"] == 3
    assert [c["outcome"] for c in document["checks"]] == ["pass", "inconclusive"]
