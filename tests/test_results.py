from __future__ import annotations

import json
from dataclasses import replace
from string import Formatter
from typing import Any

import pytest
from support.results import EXAMPLE

from ganeval.errors import IncomparableError, InputError
from ganeval.parsing.layout import format_number, to_json
from ganeval.parsing.reasons import REASONS
from ganeval.protocol import get_protocol
from ganeval.results import Evaluation, Interval, MetricResult, Reason

RESULT = replace(EXAMPLE, reference="d1")


def evaluation(result: MetricResult = RESULT) -> Evaluation:
    return Evaluation(
        results={"fid": result}, real={"spec": "real/"}, fake={"spec": "fake/"}, environment={}, warnings=("w",)
    )


def test_one_line_for_a_paper() -> None:
    line = "FD[compact-v1] 12.34   bias-corrected 11.52, 95 % CI 11.10 to 11.94   (compact, 50000 real, 50000 fake)"
    assert str(RESULT) == line


def test_names_in_a_log_have_the_number_of_images() -> None:
    assert RESULT.log_name == "FD-compact-v1-50k"


def test_one_line_without_interval() -> None:
    result = replace(RESULT, interval=None, corrected=None, bias=None, standard_error=None, reason=Reason("no_spread"))
    assert str(result) == f"FD[compact-v1] 12.34   no interval: {result.reason}   (compact, 50000 real, 50000 fake)"


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.0012345, 0.000051, "0.001234"),
        (1234.5, 12.0, "1234.50"),
        (0.0, None, "0.00"),
        (5e-14, None, "0.00"),
        (0.0123, None, "0.01230"),
    ],
)
def test_digits_follow_the_error(value: float, error: float | None, text: str) -> None:
    assert format_number(value, error) == text


def test_json_keys_are_stable() -> None:
    document = evaluation().to_dict()
    assert list(document) == [
        "$schema", "schema", "results", "real", "fake", "protocols", "samples", "environment", "warnings", "notes",
        "elapsed_seconds",
    ]  # fmt: skip
    assert document["schema"] == "ganeval/1"
    assert document["$schema"] == "urn:ganeval:schema:result:1"
    assert list(document["results"]["fid"]) == [
        "label", "value", "higher_is_better", "n_real", "n_fake", "standard_error", "bias", "corrected", "interval",
        "reason", "reason_code", "warnings", "reference", "settings", "protocol", "details",
    ]  # fmt: skip
    assert list(document["results"]["fid"]["interval"]) == ["low", "high", "level", "method", "estimand"]
    assert {"name", "key", "comparison_key", "extractor", "resize"} <= set(document["results"]["fid"]["protocol"])


def test_a_document_without_the_name_of_its_schema_is_read() -> None:
    document = evaluation().to_dict()
    del document["$schema"]
    assert Evaluation.from_dict(document) == Evaluation.from_dict(evaluation().to_dict())


def test_round_trip() -> None:
    again = Evaluation.from_dict(json.loads(to_json(evaluation().to_dict())))
    assert again["fid"] == RESULT
    assert again["fid"].comparison_key() == RESULT.comparison_key()
    assert again.warnings == ("w",)


@pytest.mark.parametrize("code", REASONS)
def test_every_reason_round_trips(code: str) -> None:
    names = {field for _, field, _, _ in Formatter().parse(REASONS[code]) if field}
    values = {name: name if name in {"sentence", "metric", "image_set"} else 7 for name in names}
    reason = Reason(code, **values)
    result = replace(RESULT, interval=None, corrected=None, bias=None, standard_error=None, reason=reason)
    entry = json.loads(json.dumps(result.to_dict()))
    assert MetricResult.from_dict("fid", entry) == result
    assert (entry["reason"], entry["reason_code"]["code"]) == (str(reason), code)
    assert all(entry["reason_code"][name] == value for name, value in values.items() if name != "sentence")


def test_reasons_of_other_versions_keep_their_sentence() -> None:
    entry: dict[str, Any] = {**RESULT.to_dict(), "interval": None, "reason": "as it was"}
    for code, expected in (
        (None, Reason("unknown", sentence="as it was")),
        ({"code": "of_later", "n": 3, "parts": [1]}, Reason("of_later", n=3, sentence="as it was")),
        ({"code": "too_few_pairs", "n": 3}, Reason("too_few_pairs", n=3, sentence="as it was")),
    ):
        read = MetricResult.from_dict("fid", {**entry, "reason_code": code})
        assert read.reason == expected
        assert str(read.reason) == "as it was"
    del entry["reason_code"]
    assert MetricResult.from_dict("fid", entry).reason == Reason("unknown", sentence="as it was")


def test_nan_never_leaves() -> None:
    with pytest.raises(InputError, match="not a number"):
        replace(RESULT, value=float("nan"))
    with pytest.raises(ValueError, match="finite"):
        replace(RESULT, interval=Interval(low=1.0, high=1.0, level=0.95, method="m", estimand="population"))
    with pytest.raises(ValueError, match="Out of range"):
        to_json({"x": float("inf")})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_fake": 10_000}, "n_fake: 50000 against 10000.*across numbers of fakes"),
        ({"reference": "abc"}, "reference: d1 against abc"),
        ({"settings": {"k": 3}}, "settings"),
        ({"name": "kid"}, "different metrics"),
        ({"protocol": get_protocol("clean")}, "extractor: compact-v1 against inception-2015-12-05"),
    ],
)
def test_raw_values_that_must_not_meet(change: dict[str, object], message: str) -> None:
    other = replace(RESULT, **change)
    with pytest.raises(IncomparableError, match=message):
        RESULT.require_comparable(other)
    assert RESULT.comparison_key() != other.comparison_key()


def test_unknown_references_do_not_meet() -> None:
    unknown = replace(RESULT, reference=None)
    with pytest.raises(IncomparableError, match="not known"):
        unknown.require_comparable(unknown)


def test_corrected_values_meet_across_n_but_not_across_estimands() -> None:
    RESULT.require_comparable(replace(RESULT, n_fake=10_000), corrected=True)
    assert RESULT.comparison_key(corrected=True) == replace(RESULT, n_fake=10_000).comparison_key(corrected=True)
    assert RESULT.interval is not None
    given = replace(RESULT, interval=replace(RESULT.interval, estimand="population-given-reference"))
    RESULT.require_comparable(given)
    assert RESULT.comparison_key(corrected=True) != given.comparison_key(corrected=True)
    with pytest.raises(IncomparableError, match="estimand"):
        RESULT.require_comparable(given, corrected=True)


@pytest.mark.parametrize("document", [{}, {"schema": "other"}, {"schema": "ganeval/1", "error": {}}])
def test_from_dict_iv(document: dict[str, object]) -> None:
    with pytest.raises(InputError, match="ganeval"):
        Evaluation.from_dict(document)


def test_from_dict_names_the_damaged_result() -> None:
    document = evaluation().to_dict()
    del document["results"]["fid"]["value"]
    with pytest.raises(InputError, match=r"results\.fid: the key 'value' is missing"):
        Evaluation.from_dict(document)
