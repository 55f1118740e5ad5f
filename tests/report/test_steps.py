"""Several runs on one page: their order, their plots, what they share, and what changed from one to another."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.results import EXAMPLE

from ganeval.cli.main import main
from ganeval.gate.compare import Compared, Comparison
from ganeval.report.charts import tick_names
from ganeval.report.figures import MOST_RUNS, chosen, forest
from ganeval.report.steps import ordered, over_runs
from ganeval.report.words import alone, cautions, parted
from ganeval.result_files import Record, read_record
from ganeval.results import Evaluation, Interval, Reason

Capture = pytest.CaptureFixture[str]


def run(name: str, value: float = 5.0, *, interval: bool = True, **more: Any) -> Record:
    ends = Interval(low=value - 1, high=value + 1, level=0.95, method="influence", estimand="population")
    result = replace(
        EXAMPLE, value=value + 0.5, bias=0.5, corrected=value if interval else None,
        standard_error=0.5 if interval else None, interval=ends if interval else None,
        reason=None if interval else Reason("unknown", sentence="too few"), **more,
    )  # fmt: skip
    side = {"spec": f"{name}/", "kind": "folder", "n": 9, "digest": "d" * 20}
    evaluation = Evaluation(results={"fid": result}, real={**side, "spec": "real"}, fake=side, environment={})
    return Record(name=name, evaluation=evaluation)


@pytest.mark.parametrize(
    ("names", "order", "label", "steps"),
    [
        (["step-1000.json", "step-20.json", "step-300.json"], [1, 2, 0], "step", True),
        (["ckpt_0010", "ckpt_0009"], [1, 0], "ckpt", True),
        (["7.json", "5.json"], [1, 0], "number in the name of the run", True),
        (["a1-b1.json", "a2-b2.json"], [0, 1], "run, in the order of the table", False),  # two numbers differ
        (["b.json", "a.json"], [0, 1], "run, in the order of the table", False),
        (["a-01", "a-1"], [0, 1], "run, in the order of the table", False),  # one number twice
        (["one.json"], [0], "run, in the order of the table", False),
    ],
)
def test_runs_are_ordered_by_the_number_in_their_names(
    names: list[str], order: list[int], label: str, steps: bool
) -> None:  # fmt: skip
    found = ordered([run(name) for name in names])
    assert [r.name for r in found.records] == [names[i] for i in order]
    assert (found.label, found.steps) == (label, steps)
    assert list(found.places) == sorted(found.places)


def test_a_line_with_its_band_over_the_steps() -> None:
    (plot,) = over_runs(ordered([run(f"step-{s}", v) for s, v in ((0, 9.0), (10, 7.0), (40, 4.0))]))
    assert plot.count('class="band c0"') == 2  # in the plot and in its key
    assert "9 at 0; 7 at 10; 4 at 40." in plot
    (line,) = re.findall(r'class="line c0 d0" d="(M62[^"]*|M[^"]*,[^"]*L[^"]*L[^"]*)"', plot.split("</figcaption>")[1])
    places = [float(x) for x in re.findall(r"[ML]([\d.]+),", line)]
    assert (places[1] - places[0]) / (places[2] - places[0]) == pytest.approx(0.25, abs=0.001)
    heights = [float(y) for y in re.findall(r"[ML][\d.]+,([\d.]+)", line)]
    assert heights == sorted(heights)  # on paper, down is more


def test_runs_without_an_order_are_not_joined() -> None:
    (plot,) = over_runs(ordered([run(name, value) for name, value in (("b", 5.0), ("a", 9.0), ("c", 7.0))]))
    drawn = plot.split("</figcaption>")[1]
    assert "<path" not in drawn
    assert re.findall(r'class="name"[^>]*>(\w)<', drawn) == ["b", "a", "c"]
    rows = re.findall(r'<circle class="point c0" cx="([\d.]+)" cy="([\d.]+)"', drawn)
    across, down = (np.array(one, dtype=float) for one in zip(*rows, strict=True))
    assert np.argsort(across).tolist() == [0, 2, 1]  # by value
    assert (np.diff(down) > 0).all()  # in their order, from the top
    assert drawn.count('class="error c0"') == 3
    many = [run(f"run {word}") for word in "abcdefghijklmnopq"]
    (plot,) = over_runs(ordered(many))
    assert plot.count('class="error c0"') == len(many)
    assert "run, in the order of the table" in plot
    assert over_runs(ordered([run("a"), run("b")])) == []


def test_plain_values_of_other_numbers_of_images_are_told() -> None:
    runs = [run("a", interval=False), run("b", interval=False), run("c", interval=False, n_fake=7)]
    (plot,) = over_runs(ordered(runs))
    assert "the numbers of images differ" in plot
    assert "a: 5.5; b: 5.5" in plot  # the plain value, not the corrected one


def test_other_protocols_have_other_plots() -> None:
    other = replace(EXAMPLE.protocol, size=64)
    runs = [run(f"s{i}") for i in range(3)] + [run(f"s{i}", protocol=other) for i in range(3, 6)]
    assert len(over_runs(ordered(runs))) == 2
    assert over_runs(ordered(runs[1:5])) == []


def test_chosen_runs_go_from_the_first_to_the_last() -> None:
    runs = [run(f"r{i}") for i in range(10)]
    names = [r.name for r in chosen(runs)]
    assert (names[0], names[-1], len(names)) == ("r0", "r9", MOST_RUNS)
    assert chosen(runs[:2]) == runs[:2]
    assert chosen([]) == []


def test_better_is_to_the_right() -> None:
    rows = [
        Compared(
            metric=name, label=name, a=1.0, b=2.0, difference=1.0, standard_error=0.5, low=0.0, high=2.0,
            p_value=0.01, better="B" if up else "A", higher_is_better=up,
        )
        for name, up in (("fid", False), ("precision", True))
    ]  # fmt: skip
    plot = forest(Comparison(rows=tuple(rows), level=0.95, names=("a", "b")))
    assert plot is not None
    worse, better = (float(x) for x in re.findall(r'<circle class="point c[12]" cx="([\d.]+)"', plot))
    (zero,) = re.findall(r'class="level" x1="([\d.]+)"', plot)
    assert worse < float(zero) < better
    assert float(zero) - worse == pytest.approx(better - float(zero), abs=0.1)
    assert "fid: -2 standard errors. precision: +2 standard errors." in plot
    assert forest(Comparison(rows=tuple(rows[:1]), level=0.95, names=("a", "b"))) is None


def test_what_is_common_stands_once() -> None:
    one, other = [("device", "cpu"), ("time", "1 s")], [("device", "cpu"), ("time", "2 s")]
    assert parted([("a", one), ("b", other)]) == [
        ("all runs", [("device", "cpu")]), ("a", [("time", "1 s")]), ("b", [("time", "2 s")]),
    ]  # fmt: skip
    assert parted([("a", one)]) == [("a", one)]
    assert parted([("a", one), ("b", one)]) == [("all runs", one)]


def test_what_only_one_run_has_is_named() -> None:
    one, other = run("a"), run("b")
    bare = replace(other, evaluation=replace(other.evaluation, results={}))
    assert alone(one, bare) == ["Only a has FD[compact-v1]."]
    assert alone(bare, one) == ["Only a has FD[compact-v1]."]
    assert alone(one, other) == []
    assert cautions([one, other]) == []
    (caution,) = cautions([one, run("c", n_fake=7)])
    assert "the numbers of images differ" in caution
    (caution,) = cautions([one, run("c", protocol=replace(EXAMPLE.protocol, size=64))])
    assert caution.startswith("Not comparable, because the protocols differ")
    assert tick_names([-0.5, 0.0, 2e6]) == ["\u22120.5", "0", "2e6"]
    assert tick_names([1000000.25, 1000000.5]) == ["1000000.2", "1000000.5"]


def test_a_page_of_many_runs_shows_a_few_and_says_so(tmp_path: Path, capsys: Capture) -> None:
    sets = ["dataset:shapes:16@1", "dataset:shapes-striped:16@2", "--num-samples", "40", "--protocol", "compact"]
    first = tmp_path / "step-0.json"
    assert main(["eval", *sets, "--metrics", "kid,pr", "--device", "cpu", "-q", "-o", str(first)]) == 0
    for step in range(1, 6):
        document = json.loads(first.read_text())
        document["results"]["kid"]["value"] += step
        (tmp_path / f"step-{step * 100}.json").write_text(json.dumps(document))
    paths = [str(path) for path in sorted(tmp_path.glob("*.json"), reverse=True)]
    assert main(["report", *paths, "-o", str(tmp_path / "page.html"), "-q"]) == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Of step-0.json, step-200.json, step-300.json, step-500.json." in text
    assert text.count("<h4>Random fakes</h4>") == MOST_RUNS
    assert text.count("KID[compact-v1] over the runs</strong>") == 1
    values = re.findall(r"KID<wbr>\[compact-v1\]</th><td>step-(\d+)\.json", text)
    assert values == ["0", "100", "200", "300", "400", "500"]
    capsys.readouterr()
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "r.json").write_text(first.read_text())
    assert main(["report", *(str(tmp_path / n / "r.json") for n in "xy"), "-o", str(tmp_path / "two.html"), "-q"]) == 0
    text = (tmp_path / "two.html").read_text(encoding="utf-8")
    assert f"<td>{tmp_path}/x/r.json</td>" in text


def test_images_that_are_gone_are_told_once(tmp_path: Path) -> None:
    for seed, name in enumerate(("real", "fake")):
        assert main(["sample", f"dataset:shapes:16@{seed}", "-n", "20", "-q", "-o", str(tmp_path / name)]) == 0
    sets = [str(tmp_path / name) for name in ("real", "fake")]
    table = str(tmp_path / "t.csv")
    options = ["--protocol", "compact", "--metrics", "pr", "--device", "cpu", "-q", "--per-image", table]
    assert main(["eval", *sets, *options, "-o", str(tmp_path / "r.json")]) == 0
    (tmp_path / "fake").rename(tmp_path / "elsewhere")
    (tmp_path / "real").rename(tmp_path / "nowhere")
    assert main(["report", str(tmp_path / "r.json"), "-o", str(tmp_path / "page.html"), "-q"]) == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count(f"{tmp_path}/fake cannot be opened again") == 1
    assert text.count("cannot be opened again") == 1
    assert "<img" not in text
    assert len(read_record(tmp_path / "r.json").arrays["realism_fake"]) == 20


def test_a_document_of_any_content_makes_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Huge numbers, no intervals, details of no sense: a page that can be read; what is declared otherwise is named."""
    sets = ["dataset:shapes:16@1", "dataset:shapes-striped:16@2", "--num-samples", "30", "--protocol", "compact"]
    path = tmp_path / "r.json"
    assert main(["eval", *sets, "--metrics", "fid,kid", "--device", "cpu", "-q", "-o", str(path)]) == 0
    document = json.loads(path.read_text())
    fid, kid = document["results"]["fid"], document["results"]["kid"]
    fid["value"], kid["value"] = 1e49, -3.2e15
    kid["interval"] |= {"low": -1e17, "high": 1e17}
    sizes = [{"n": 5, "value": 1.0}, {"n": 8, "value": 2.0, "corrected": 3.0}]
    fid["details"] = {"by_size": sizes, "of no metric": {"a": [5, "x", None]}}
    fid["reason"] = "<script>alert(1)</script>"
    document["environment"] |= {"of no machine": {"versions": 5}}
    page = str(tmp_path / "page.html")
    for value, real, details, place in (
        (1e300, document["real"], fid["details"], "results.fid.value: found 1e+300"),
        (1e49, {"spec": 5, "n": "x", "subset": "y"}, fid["details"], "real."),
        (1e49, document["real"], {"by_size": [{"n": 0, "value": 1}, "x"]}, "details.by_size[0].n: found 0"),
        (1e49, document["real"], {"per_class": {"a": 5}}, "details.per_class"),
    ):
        wrong = json.loads(json.dumps(document))
        wrong["results"]["fid"] |= {"value": value, "details": details}
        wrong["real"] = real
        path.write_text(json.dumps(wrong))
        capsys.readouterr()
        assert main(["report", str(path), "-o", page, "-q"]) == 2
        assert place in capsys.readouterr().err
    path.write_text(json.dumps(document))
    assert main(["report", str(path), "-o", str(tmp_path / "page.html"), "--baseline", str(path), "-q"]) == 0
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "1e+49" in text
    assert "\u22121e+17 to 1e+17" in text
    assert "against the number of fakes</strong>" in text  # of the two sizes that are sound
    assert max(map(len, re.findall(r">([^<]*)</t[dh]>", text))) < 300
