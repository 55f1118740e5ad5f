"""``ganeval gate`` and ``compare`` through the program: rules in files, exit codes, what is written where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from support.schemas import require_valid

from ganeval.cli.main import main
from ganeval.metrics.registry import METRICS
from ganeval.result_files import read_record

Capture = pytest.CaptureFixture[str]
SETS = ["dataset:shapes-plain@1", "dataset:shapes-striped@2", "--num-samples", "700"]
FAST = ["--device", "cpu", "-q"]
Configure = Callable[..., None]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run with its arrays: FD 27 or so, with an interval."""
    target = tmp_path_factory.mktemp("gate") / "R.json"
    assert main(["eval", *SETS, *FAST, "--protocol", "compact", "--metrics", "fid,kid,rke", "-o", str(target)]) == 0
    return target


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configure:
    """Write ganeval.toml into an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, head: str = 'protocol = "compact"') -> None:
        Path("ganeval.toml").write_text(f"[gate]\n{head}\n{text}\n", encoding="utf-8")

    return write


def fid(measured: Path) -> float:
    return float(json.loads(measured.read_text())["results"]["fid"]["corrected"])


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ganeval", *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("limit", "code", "word"), [(1000.0, 0, "PASS"), (0.0, 1, "FAIL"), (None, 3, "????"), ("nan", 2, "error:")]
)
def test_exit_codes_of_the_program(limit: Any, code: int, word: str, measured: Path, rules: Configure) -> None:
    rules(f"[gate.rules.fid]\nmax = {fid(measured) + 0.01 if limit is None else limit}")
    run = program("gate", "--results", str(measured))
    assert run.returncode == code, run.stderr
    assert (run.stdout or run.stderr).startswith(word)
    assert "Traceback" not in run.stderr
    if code in (1, 3):
        assert program("gate", "--results", str(measured), "--exit-zero").returncode == 0
    if code == 2:
        assert program("gate", "--results", str(measured), "--exit-zero").returncode == 2


def test_measuring_and_judging_in_one(rules: Configure, tmp_path: Path, capsys: Capture) -> None:
    """The same engine as ``eval``; the document of the gate loads as a baseline; JUnit says the same."""
    rules("[gate.rules.fid]\nmax = 1000\n[gate.rules.kid]\nmax = 0.0\nsource = 'nobody'\n[gate.rules.rke]\nmin = 1.0")
    assert main(["gate", *SETS, *FAST, "-o", "G.json", "--junit", "gate.xml", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    require_valid(document)
    require_valid(json.loads(Path("G.json").read_text()))
    assert document["gate"]["verdict"] == "fail"
    assert {c["metric"]: c["outcome"] for c in document["gate"]["checks"]} == {
        "fid": "pass",
        "kid": "fail",
        "rke": "pass",
    }
    again = read_record("G.json")
    assert again.missing is None
    assert list(again.evaluation.results) == ["fid", "kid", "rke"]
    suite = ET.parse("gate.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    assert main(["gate", "--results", "G.json", "-q"]) == 1
    assert "[limit from: nobody]" in capsys.readouterr().out


def test_too_few_images_is_not_judged(rules: Configure, capsys: Capture) -> None:
    """For a metric's command that is an error; a gate says for each rule that it could not be judged."""
    rules("[gate.rules.density]\nmin = 0.1\n[gate.rules.fid]\nmax = 1e9")
    assert main(["gate", *SETS[:2], *FAST, "--num-samples", "5", "--junit", "gate.xml", "-o", "G.json"]) == 3
    out = capsys.readouterr().out
    assert out.count("????") == 2
    assert "found 5" in out
    assert ET.parse("gate.xml").getroot().get("errors") == "2"
    document = json.loads(Path("G.json").read_text())
    assert (document["gate"]["exit_code"], "results" in document) == (3, False)
    require_valid(document)
    for limit, expected in ((1e9, 0), (1e-9, 3)):  # bounds of the distance itself; a drawn reference has no lower one
        rules(f"[gate.rules.fid]\nmax = {limit}")
        assert main(["gate", *SETS[:2], *FAST, "--num-samples", "100"]) == expected
        assert "the distance itself is at most" in capsys.readouterr().out


def test_statistics_of_another_protocol_are_not_judged(
    rules: Configure, capsys: Capture, surrogate_weights: Path
) -> None:
    rules("[gate.rules.fid]\nmax = 1e9", head='protocol = "ttur"')
    arguments = ["stats:cifar10-test", "dataset:shapes", "--num-samples", "9", "--weights", str(surrogate_weights)]
    assert main(["gate", *arguments, *FAST]) == 3
    assert "another protocol" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        ({"value": float("nan")}, "is not a number in the results of R.json: its value is nan"),
        ({"value": None}, "it has no value"),
        (None, "fid is not among the results"),
    ],
)
def test_results_that_never_pass(
    edit: dict[str, Any] | None, why: str, measured: Path, rules: Configure, capsys: Capture
) -> None:
    rules("on-inconclusive = 'pass'\n[gate.rules.fid]\nmax = 1e9")
    document = json.loads(measured.read_text())
    if edit is None:
        del document["results"]["fid"]
    else:
        document["results"]["fid"] |= edit
    Path("R.json").write_text(json.dumps(document))
    assert main(["gate", "--results", "R.json"]) == 3
    assert why in capsys.readouterr().out
    assert main(["gate", "--results", "R.json", "--strict"]) == 3


@pytest.mark.parametrize(
    ("text", "head", "message"),
    [
        ("[gate.rules.fdi]\nmax = 1", None, "ganeval.toml, rules: Unknown metric 'fdi'"),
        ("[gate.rules.fid]\nmaxx = 1", None, "Did you mean 'max'?"),
        ("[gate.rules.fid]\nmax = inf", None, "rules.fid.max: found inf, expected a finite number"),
        ("[gate.rules.fid]\nmax = 1", "protokol = 'compact'", "no option 'protokol'. Did you mean 'protocol'?"),
        ("[gate.rules.fid]\nmax = 1", "", "a limit is valid for one protocol"),
        ("[gate.rules.fid]\nmax = 1", "protocol = 'compct'", "Unknown protocol 'compct'"),
        ("[gate.rules.fid]\nmax = 1", "on-inconclusive = 'shrug'\nprotocol = 'compact'", "shrug"),
        ("", None, "there are no rules"),
        ("[gate.rules.fid]\nmax-regression = {abs = 1}", None, "needs a baseline"),
    ],
)
def test_configurations_that_make_no_sense(
    text: str, head: str | None, message: str, measured: Path, rules: Configure, capsys: Capture
) -> None:
    rules(text, *([] if head is None else [head]))
    assert main(["gate", "--results", str(measured), "--json"]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert json.loads(out)["error"]["kind"] in ("configuration", "usage")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["only-one/"], "takes REAL and FAKE"),
        ([], "Pass one of the two"),
        (["a/", "b/", "--results", "R.json"], "Pass one of the two"),
        (["--results", "missing.json"], "does not exist"),
        (["--results", "ganeval.toml"], "it is not JSON"),
        (["--results", "R.json", "--update-baseline"], "needs the file to write"),
        (["--results", "R.json", "--baseline", "missing.json"], "does not exist"),
        (["--results", "R.json", "--junit", "no/folder.xml"], "cannot write"),
        (["--suggest", "R.json"], "at least 3 runs"),
    ],
)
def test_arguments_that_make_no_sense(
    arguments: list[str], message: str, measured: Path, rules: Configure, capsys: Capture
) -> None:
    rules("[gate.rules.fid]\nmax = 1")
    Path("R.json").write_bytes(measured.read_bytes())
    assert main(["gate", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_strict_of_other_commands_is_not_that_of_the_gate(
    measured: Path, rules: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At top level, and in GANEVAL_STRICT, it is the border of the balls of precision and recall."""
    limit = f"[gate.rules.fid]\nmax = {fid(measured) + 0.01}"
    rules(limit)
    text = Path("ganeval.toml").read_text()
    Path("ganeval.toml").write_text(f"strict = true\n{text}")
    monkeypatch.setenv("GANEVAL_STRICT", "1")
    assert main(["gate", "--results", str(measured), "-q"]) == 3
    rules(limit, head="protocol = 'compact'\nstrict = true")
    assert main(["gate", "--results", str(measured), "-q"]) == 0
    rules(limit)
    monkeypatch.setenv("GANEVAL_GATE_STRICT", "1")
    assert main(["gate", "--results", str(measured), "-q"]) == 0


def test_rules_stand_in_pyproject_too(measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = '[tool.ganeval.gate]\nprotocol = "compact"\n[tool.ganeval.gate.rules.fid]\nmax = 0.0\n'
    Path("pyproject.toml").write_text(text, encoding="utf-8")
    assert main(["gate", "--results", str(measured)]) == 1
    Path("other.toml").write_text('[gate]\nprotocol = "compact"\n[gate.rules.fid]\nmax = 1e9\n', encoding="utf-8")
    assert main(["gate", "--results", str(measured), "--config", "other.toml"]) == 0


def test_a_baseline_is_made_kept_and_replaced_only_when_asked(
    measured: Path, rules: Configure, capsys: Capture
) -> None:
    rules("[gate.rules.fid]\nmax = 1000\nmax-regression = { rel = 0.05 }")
    judge = ["gate", "--results", str(measured), "--baseline", "base.json"]
    assert main(judge) == 2
    assert main([*judge, "--update-baseline"]) == 0
    assert "base.json is the new baseline" in capsys.readouterr().err
    assert read_record("base.json").missing is None
    before = Path("base.json").read_bytes()
    assert main(judge) == 0
    assert "bit for bit" in capsys.readouterr().err
    assert Path("base.json").read_bytes() == before
    rules("[gate.rules.fid]\nmax = 1.0\nmax-regression = { rel = 0.05 }")
    Path("base.json").unlink()
    assert main([*judge, "--update-baseline"]) == 1
    assert not Path("base.json").exists()


def test_github(
    measured: Path, rules: Configure, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    rules("[gate.rules.fid]\nmax = 0.0\n[gate.rules.kid]\nmax = 1e9")
    assert main(["gate", "--results", str(measured)]) == 1
    assert "::" not in capsys.readouterr().out
    assert not summary.exists()
    assert main(["gate", "--results", str(measured), "--format", "github"]) == 1
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("::")]
    assert line.startswith("::error title=ganeval gate%3A fid max::at most 0")
    assert summary.read_text(encoding="utf-8").startswith("**gate: fail (1 failed, 1 passed)**\n\n|  | metric")
    assert main(["gate", "--results", str(measured), "--format", "md"]) == 1
    assert capsys.readouterr().out.strip() == summary.read_text(encoding="utf-8").strip()


def test_check_looks_and_measures_nothing(measured: Path, rules: Configure, capsys: Capture) -> None:
    rules("[gate.rules.fid]\nmax = 1\nmax-regression = {rel = 0.1}")
    assert main(["gate", "--check"]) == 0
    out = capsys.readouterr().out
    assert "ganeval.toml: rules of fid" in out
    assert "weights that ship" in out
    assert main(["gate", "--check", "--baseline", str(measured)]) == 0
    assert "3 results, paired by image" in capsys.readouterr().out
    Path("base.json").write_bytes(measured.read_bytes())  # without the file beside it
    assert main(["gate", "--check", "--baseline", "base.json"]) == 2
    assert "R.samples.npz is not in the folder of base.json" in capsys.readouterr().err
    rules("[gate.rules.recall]\nmin = 0.1\nmax-regression = {abs = 0.1}")
    assert main(["gate", "--check", "--baseline", str(measured)]) == 2
    assert "has no recall" in capsys.readouterr().err


def test_check_finds_a_file_that_is_not_the_one_on_record(
    rules: Configure, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganeval.engine import public_statistics as named

    rules("[gate.rules.fid]\nmax = 1")
    monkeypatch.setattr(named.platformdirs, "user_cache_path", lambda *_, **__: tmp_path)
    entry = next(iter(named.public_statistics().values()))
    fetched = tmp_path / "reference_stats" / f"{entry.name}.npz"
    fetched.parent.mkdir()
    fetched.write_bytes(b"x")
    fetched.with_name(f"{fetched.name}.sha256").write_text("0" * 64)
    assert main(["gate", "--check"]) == 2
    assert "does not have its recorded hash" in capsys.readouterr().err


def test_suggest(measured: Path, rules: Configure, capsys: Capture) -> None:
    rules("[gate.rules.fid]\nmax = 1")
    for i, shift in enumerate((0.0, 0.5, -0.4)):
        document = json.loads(measured.read_text())
        for entry in document["results"].values():
            entry["value"] += shift
            entry["corrected"] += shift
        Path(f"{i}.json").write_text(json.dumps(document))
    assert main(["gate", "--suggest", "0.json", "1.json", "2.json"]) == 0
    text = capsys.readouterr().out
    Path("ganeval.toml").write_text(text, encoding="utf-8")
    assert main(["gate", "--results", "1.json", "-q"]) == 0
    capsys.readouterr()
    assert main(["gate", "--suggest", "0.json", "1.json", "2.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["suggest"]["fid"]["runs"] == 3


# --- compare ------------------------------------------------------------------------------------------------------


def test_compare(measured: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["compare", str(measured), str(measured)]) == 0
    assert capsys.readouterr().out.count("no difference beyond noise") == 3
    document = json.loads(measured.read_text())
    document["results"]["fid"]["value"] += 50
    document["results"]["fid"]["corrected"] += 50
    document["results"]["kid"]["protocol"]["resize"] = "pil-bicubic-float"
    other = tmp_path / "B.json"
    other.write_text(json.dumps(document))
    assert main(["compare", str(measured), str(other)]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert "A is better" in lines[0]
    assert "(independent)" in lines[0]  # the arrays are not beside the copy
    assert "resize: torch-bilinear-antialias against pil-bicubic-float" in lines[1]
    assert main(["compare", str(measured), str(other), "--metrics", "fid,rke", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["compare"]
    assert found["judged"]
    assert found["metrics"]["fid"]["better"] == "A"
    assert main(["compare", str(measured), str(other), "--format", "md"]) == 3
    assert "| FD\\[compact-v1\\] |" in capsys.readouterr().out
    assert main(["compare", str(measured), "missing.json"]) == 2


# --- what every command writes loads as a baseline ----------------------------------------------------------------


SMALL = ["--num-samples", "120", *FAST]
COMMANDS: dict[str, list[str]] = {
    "paired": [
        "dataset:shapes-plain:176",
        "dataset:shapes-striped:176",
        "--num-samples",
        "12",
        "--distance",
        "compact",
    ],
    "diversity": [SETS[1], "--num-samples", "24", "--group-by", r"(\d)$", "--distance", "compact"],
    "eval": [*SETS[:2], *SMALL, "--protocol", "compact", "--test", "dataset:shapes-plain@3"],
    "ct": [*SETS[:2], *SMALL, "--protocol", "compact", "--test", "dataset:shapes-plain@3"],
    "ppl": ["gen:dcgan-cifar10", "--pairs", "40", "--distance", "compact", *FAST],
    "sfid": [*SETS[:2], "--num-samples", "6", *FAST],  # on stand-in weights, as cmmd
    "cmmd": [*SETS[:2], "--num-samples", "6", *FAST],
    "fwd": [*SETS[:2], *SMALL],
}
STAND_INS = {"sfid": "surrogate_weights", "cmmd": "small_clip"}


# clip-score needs a network of text, see tests/engine/test_clip_score.py
WITH_RESULTS = ["eval", *dict.fromkeys(m.command or m.name for m in METRICS.values() if m.name != "clip-score")]


@pytest.mark.parametrize(
    "command",
    [
        one if one in ("eval", "fid", "paired", "ppl") else pytest.param(one, marks=pytest.mark.nightly)
        for one in WITH_RESULTS
    ],
)
def test_every_document_with_results_is_a_baseline(
    command: str, rules: Configure, capsys: Capture, request: pytest.FixtureRequest
) -> None:
    """Of every command: written to a file, with arrays beside it, and printed by another run, without."""
    metrics = [m for m in METRICS.values() if command in (m.command, m.name)]
    sides = SETS[:2] if any(m.sides == "both" for m in metrics) else SETS[1:2]
    arguments = [command, *COMMANDS.get(command, [*sides, *SMALL, "--protocol", "compact"])]
    if command in STAND_INS:
        arguments += ["--weights", str(request.getfixturevalue(STAND_INS[command]))]
    assert main([*arguments, "-o", "R.json", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    require_valid(document)
    Path("stdout.json").write_text(json.dumps({**document, "samples": None}))
    some = command in ("eval", "paired")  # those of them that can be computed without weights
    names = list(document["results"]) if some else [m.name for m in metrics]
    assert len(names) > 10 or command != "eval"
    for path in ("R.json", "stdout.json"):
        again = read_record(path)
        assert list(again.evaluation.results) == names
        assert not again.unusable
        assert (again.missing is None) == (path == "R.json")
        assert {n: r.to_dict() for n, r in again.evaluation.results.items()} == document["results"]
    head = "" if command not in STAND_INS else f"weights-sha256 = '{document['protocols'][0]['weights']}'"
    rules("\n".join(f"[gate.rules.{n}]\nmax-regression = {{ abs = 1e6 }}" for n in names), head=head)
    code = main(["gate", "--results", "R.json", "--baseline", "stdout.json", "--json"])
    checks = {c["metric"]: c for c in json.loads(capsys.readouterr().out)["gate"]["checks"]}
    for name in names:
        result = again.evaluation[name]
        assert checks[name]["outcome"] == ("pass" if result.interval is not None else "inconclusive")
        if result.interval is None:
            assert str(result.reason) in checks[name]["reason"]
    assert code == (0 if all(r.interval is not None for r in again.evaluation.results.values()) else 3)
