"""Exports, each read back by the library of whoever takes it."""

from __future__ import annotations

import builtins
import csv
import io
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from support.gates import record, result

from ganeval.cli.main import main
from ganeval.errors import ConfigError
from ganeval.result_files import write_record
from ganeval.results import Evaluation

VALUE = 12.345678901234567


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    """Two files of results: FID with bias and interval, KID without an interval."""
    paths = []
    for name, value in (("old", VALUE), ("=new_1", 11.0)):
        evaluation = record(result(value, 0.1, bias=0.25), result(0.5, None, name="kid")).evaluation
        write_record(evaluation, tmp_path / f"{name}.json")
        paths.append(str(tmp_path / f"{name}.json"))
    return paths


def exported(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["export", *arguments]) == 0
    return capsys.readouterr().out


def test_csv_has_every_digit(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(exported(capsys, *runs, "--to", "csv"))))
    assert [(row["run"], row["metric"]) for row in rows] == [
        ("old", "fid"),
        ("old", "kid"),
        ("'=new_1", "fid"),
        ("'=new_1", "kid"),
    ]
    assert float(rows[0]["value"]) == VALUE
    assert float(rows[0]["corrected"]) == VALUE - 0.25
    assert float(rows[0]["low"]) < VALUE - 0.25 < float(rows[0]["high"])
    assert rows[1]["low"] == ""
    assert "too few fake images" in rows[1]["reason"]
    assert len(rows[0]["comparison_key"]) == 16


def test_markdown(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    markdown = pytest.importorskip("markdown")
    html = markdown.markdown(exported(capsys, *runs, "--to", "markdown"), extensions=["tables"])
    table = ET.fromstring(html)
    head = [cell.text for cell in table.iter("th")]
    rows = [[cell.text for cell in row.iter("td")] for row in table.iter("tr")][1:]
    assert head[:3] == ["run", "metric", "value"]
    assert rows[0][:3] == ["old", "FID[compact-v1]", "12.35"]
    assert rows[2][0] == "=new_1"


def test_latex_has_no_character_that_tex_would_read(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = exported(capsys, *runs, "--to", "latex")
    lines = text.splitlines()
    assert lines[:2] == [r"\begin{tabular}{llrllll}", r"\toprule"]
    assert lines[-1] == r"\end{tabular}"
    rows = [line.removesuffix(r" \\").split(" & ") for line in lines if line.endswith(r" \\")]
    assert {len(row) for row in rows} == {7}
    assert rows[1][:4] == ["old", r"FID[compact-v1] $\downarrow$", "12.35", "12.10"]
    assert rows[3][0] == r"=new\_1"
    assert r"(95 \%)" in rows[1][4]


def test_results_of_the_hub(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    hub = pytest.importorskip("huggingface_hub")
    text = exported(capsys, runs[0], "--to", "hf-eval-results", "--dataset", "uoft-cs/cifar10")
    first, second = hub.parse_eval_result_entries(yaml.safe_load(text))
    assert (first.dataset_id, first.task_id, first.value) == ("uoft-cs/cifar10", "fid", VALUE)
    assert "95 % CI" in first.notes
    assert "no interval" in second.notes
    text = exported(capsys, runs[0], "--to", "hf-eval-results", "--dataset", "x/y", "--task", "default: \u00e4")
    assert {one.task_id for one in hub.parse_eval_result_entries(yaml.safe_load(text))} == {"default: \u00e4"}


def test_the_index_of_a_model_card(runs: list[str], tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = tmp_path / "README.md"
    command = [*runs[:1], "--to", "model-index", "--model", 'my "gan" #1', "--dataset", "uoft-cs/cifar10"]
    assert main(["export", *command, "-o", str(card)]) == 0
    data = hub.ModelCard.load(card).data
    assert data.model_name == 'my "gan" #1'
    first, second = data.eval_results
    assert (first.metric_type, first.metric_name, first.metric_value) == ("fid", "FID[compact-v1]", VALUE)
    assert first.metric_args["n_fake"] == 1000
    assert first.metric_args["interval"][0] < VALUE < first.metric_args["interval"][1] + 1
    assert "interval" not in second.metric_args
    assert first.dataset_type == "uoft-cs/cifar10"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "model-index", "--model", "x"], "needs --dataset"),
        (["--to", "model-index", "--dataset", "x"], "needs --model"),
        (["--to", "hf-eval-results", "--dataset", "x", "--model", "y"], "--model has no effect"),
        (["--to", "csv", "--task", "y"], "--task has no effect"),
        (["--to", "pdf"], "'pdf' is not one of"),
    ],
)
def test_options_that_do_not_fit(
    options: list[str], message: str, runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *runs, *options]) == 2
    assert message in capsys.readouterr().err


def test_an_export_never_replaces_a_result(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = Path(runs[0]).read_bytes()
    assert main(["export", *runs, "--to", "csv", "-o", runs[0]]) == 2
    assert Path(runs[0]).read_bytes() == before


def test_records_and_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation: Evaluation = record(result(VALUE, 0.1, bias=0.25), result(0.5, None, name="kid")).evaluation
    first, second = evaluation.to_records()
    assert first["value"] == VALUE
    assert second["low"] is None
    pandas = pytest.importorskip("pandas")
    frame = evaluation.to_frame()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["metric"]) == ["fid", "kid"]
    assert frame["low"].isna().tolist() == [False, True]
    assert evaluation._repr_markdown_().startswith("| metric | value |")
    real = builtins.__import__

    def without_pandas(name: str, *rest: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    with pytest.raises(ConfigError, match="pip install pandas"):
        evaluation.to_frame()
