"""``ganeval scores``: from a file of another program to a result, a comparison, a verdict and a page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ganeval
from ganeval.cli.main import main
from ganeval.errors import ConfigError
from ganeval.gate.compare import compare
from ganeval.result_files import Record, read_record
from ganeval.results import Evaluation

Capture = pytest.CaptureFixture[str]


def write_scores(path: Path, step: float, *, seed: int = 0, ids: bool = True, n: int = 500) -> Path:
    """Scores of one model: how good a prompt is differs far more than models do."""
    prompts = np.random.default_rng(7).normal(size=n)
    rng = np.random.default_rng(seed)
    lines = ["file,prompt,hps v2,hit"]
    for i in rng.permutation(n).tolist():
        name = f"{i}.png" if ids else f"{seed}-{i}.png"
        score = prompts[i] + rng.normal(step, 0.3)
        lines.append(f"{name},p{i // 2},{score:.6f},{str(bool(score > -0.5)).lower()}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_document(tmp_path: Path, capsys: Capture) -> None:
    path = write_scores(tmp_path / "a.csv", 0.0)
    assert main(["scores", str(path), "--id", "file", "--higher-is-better", "hps v2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["real"] is None
    assert document["fake"] == {"spec": str(path), "kind": "scores", "n": 500, "digest": document["fake"]["digest"]}
    hps, hit = document["results"]["hps v2"], document["results"]["hit"]
    assert set(document["results"]) == {"hps v2", "hit"}
    assert (hps["higher_is_better"], hit["higher_is_better"]) == (True, None)
    assert (hps["protocol"]["name"], hps["n_real"], hps["n_fake"]) == ("scores", None, 500)
    assert hps["interval"]["low"] < hps["value"] < hps["interval"]["high"]
    assert hit["interval"]["method"] == "wilson"
    assert hps["details"]["quantiles"]["0.5"] == pytest.approx(np.median([float(x) for x in column(path, 2)]))
    assert Evaluation.from_dict(document).to_dict() == document


def column(path: Path, place: int) -> list[str]:
    return [line.split(",")[place] for line in path.read_text("utf-8").splitlines()[1:]]


def test_text_and_notes(tmp_path: Path, capsys: Capture) -> None:
    assert main(["scores", str(write_scores(tmp_path / "a.csv", 0.0)), "--group-by", "prompt"]) == 0
    out, err = capsys.readouterr()
    assert "hps v2" in out
    assert "quantiles: 5 %" in out
    assert "(scores, 500 scores)" in out
    assert "left out, because they are not scores: file" in err
    assert "250 groups of 500 rows" in err


def test_python_is_the_same(tmp_path: Path) -> None:
    path = write_scores(tmp_path / "a.csv", 0.0)
    found = ganeval.scores(path, column="hps v2", group_by="prompt", lower_is_better=["hps v2"], level=0.9)
    assert list(found.results) == ["hps v2"]
    assert found["hps v2"].higher_is_better is False
    assert found["hps v2"].interval is not None
    assert found["hps v2"].interval.level == 0.9
    with pytest.raises(ConfigError, match="unknown argument 'columns'. Did you mean column"):
        ganeval.scores(path, columns="hps v2")


def test_pairs_by_id(tmp_path: Path) -> None:
    """A step of 0.2 standard deviations at 500 rows: far within noise unpaired, far beyond it paired."""
    options = {"column": "hps v2", "higher_is_better": "hps v2", "id": "file"}
    a, b = (
        Record.of(ganeval.scores(write_scores(tmp_path / f"{seed}.csv", step, seed=seed), **options), str(seed))
        for seed, step in ((1, 0.0), (2, 0.2))
    )
    (row,) = compare(a, b).rows
    assert (row.pairing, row.better) == ("paired", "B")
    assert row.low is not None
    assert row.high is not None
    assert row.low > 0.1
    assert row.low < 0.2 < row.high
    (other,) = compare(*(Record(name=r.name, evaluation=r.evaluation) for r in (a, b))).rows
    assert (other.standard_error or 0) > 2 * (row.standard_error or 0)


def test_pairs_across_numbers_of_rows_and_not_without_ids(tmp_path: Path) -> None:
    one = ganeval.scores(write_scores(tmp_path / "1.csv", 0.0, seed=1), id="file")
    short = ganeval.scores(write_scores(tmp_path / "2.csv", 0.0, seed=2, n=400), id="file")
    foreign = ganeval.scores(write_scores(tmp_path / "3.csv", 0.0, seed=3, ids=False), id="file")
    without = ganeval.scores(write_scores(tmp_path / "4.csv", 0.0, seed=4))
    notes = [compare(Record.of(one), Record.of(other)).rows[0].note for other in (short, foreign, without)]
    assert [str(note) for note in notes] == [
        "400 fakes of both runs are pairs; the others count alone",
        "no id is in both files",
        "the rows have no ids: --id COLUMN pairs them",
    ]


def test_compare_without_direction(tmp_path: Path, capsys: Capture) -> None:
    for seed, step in ((1, 0.0), (2, 0.3)):
        path = write_scores(tmp_path / f"{seed}.csv", step, seed=seed)
        assert main(["scores", str(path), "--id", "file", "-o", str(tmp_path / f"{seed}.json"), "-q"]) == 0
    capsys.readouterr()
    files = [str(tmp_path / "1.json"), str(tmp_path / "2.json")]
    assert main(["compare", *files]) == 0
    assert "they differ, no direction is known" in capsys.readouterr().out
    assert main(["compare", *files, "--metrics", "hps v2"]) == 0
    assert main(["compare", *files, "--metrics", "hps"]) == 2


def test_all_hits_have_an_interval(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("hit\n" + "1\n" * 30, encoding="utf-8")
    result = ganeval.scores(path)["hit"]
    assert result.interval is not None
    assert (result.interval.high, result.standard_error) == (1.0, None)
    row = compare(Record.of(ganeval.scores(path)), Record.of(ganeval.scores(path))).rows[0]
    assert "all its values are equal" in str(row.reason)


def test_report(tmp_path: Path) -> None:
    path, page = write_scores(tmp_path / "a.csv", 0.0), tmp_path / "a.html"
    document = tmp_path / "a.json"
    assert main(["scores", str(path), "--report", str(page), "-o", str(document), "-q"]) == 0
    text = page.read_text("utf-8")
    assert "Scores: hps v2" in text
    assert "the numbers are from a file of scores" in text
    assert main(["report", str(document), str(document), "-o", str(tmp_path / "b.html"), "-q"]) == 0
    assert read_record(document).arrays.keys() >= {"hps v2_influence_fake", "hps v2_score_fake"}


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("x\n1\nnan\n", [], "line 3: column 'x' has 'nan'"),
        ("x\n1\ngood\n", [], "line 3: column 'x' has 'good'"),
        ("x\ngood\n1\n", ["--column", "x"], "line 2: column 'x' has 'good'"),
        ("x\ngood\n", [], "expected at least one column of numbers"),
        ("x\n1\n", ["--column", "y"], "no column 'y'"),
        ("x,f\n1,a\n2,a\n", ["--id", "f"], "the id 'a' of column 'f'"),
        ("x,f\n1,a\n2,\n", ["--group-by", "f"], "line 3: column 'f' is empty"),
        ("x\n1\n", ["--higher-is-better", "y"], "names 'y', which is not measured"),
        ("x\n1\n", ["--higher-is-better", "x", "--lower-is-better", "x"], "Name it in one of them"),
    ],
)
def test_iv(text: str, options: list[str], message: str, tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, encoding="utf-8")
    assert main(["scores", str(path), *options]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("error:")) == ("", 1)


def test_missing_file_iv(tmp_path: Path, capsys: Capture) -> None:
    assert main(["scores", str(tmp_path / "none.csv"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "input"
