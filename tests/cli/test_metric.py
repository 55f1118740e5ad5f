"""``ganeval eval`` and the commands of single metrics, through the program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ganeval.api import evaluate
from ganeval.cli.main import main
from ganeval.errors import ConfigError
from ganeval.images.shapes import render
from ganeval.metrics.registry import METRICS
from ganeval.protocol import get_protocol
from ganeval.results import Evaluation

Capture = pytest.CaptureFixture[str]
SETS = ["dataset:shapes-plain@1", "dataset:shapes-striped@2", "--num-samples", "120"]
FAST = ["--protocol", "compact", "--device", "cpu", "-q"]
HAS = get_protocol("compact").has
IN_EVAL = [
    m.name for m in METRICS.values() if m.in_eval and not m.test and m.protocol in (None, "fwd") and HAS(m.layer)
]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("eval") / "all.json"
    assert main(["eval", *SETS, *FAST, "-o", str(target)]) == 0
    return target


def test_eval_gives_every_metric_and_each_survives_the_file(everything: Path) -> None:
    document = json.loads(everything.read_text())
    assert list(document["results"]) == IN_EVAL
    evaluation = Evaluation.from_dict(document)
    for name, entry in document["results"].items():
        result = evaluation[name]
        assert result.to_dict() == entry
        assert result.higher_is_better == METRICS[name].higher_is_better
        assert result.interval is not None or result.reason
        assert ("[haar-4]" if name == "fwd" else "[compact-v1") in result.label
    samples = np.load(everything.parent / document["samples"]["file"], allow_pickle=False)
    assert {"fid_influence_fake", "kid_influence_real", "is_influence_fake", "fake_image_digests"} <= set(samples.files)
    assert all(samples[name].dtype in (np.float64, np.uint64) for name in samples.files)


def test_one_pass_gives_what_single_runs_give(everything: Path) -> None:
    document = json.loads(everything.read_text())
    for name in ("kid", "recall", "is", "vendi"):
        alone = evaluate(*SETS[:2], metrics=(name,), num_samples=120, protocol="compact", device="cpu")
        assert alone[name].value == pytest.approx(document["results"][name]["value"], rel=1e-9)
        assert alone[name].comparison_key() == document["results"][name]["protocol"]["comparison_key"]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["kid", *SETS, "--kid-subsets", "5x50", "--kid-kernel", "rbf"], ["kid"]),
        (["pr", *SETS, "--neighbours", "4", "--strict"], ["precision", "recall", "density", "coverage"]),
        (["is", SETS[0], "--num-samples", "60", "--splits", "3"], ["is"]),
        (["mind", *SETS, "--directions", "20"], ["mind"]),
        (["vendi", SETS[0], "--num-samples", "60"], ["vendi"]),
        (["eval", *SETS, "--metrics", "pr,kid"], ["precision", "recall", "density", "coverage", "kid"]),
    ],
)
def test_commands_of_metrics(arguments: list[str], names: list[str], capsys: Capture) -> None:
    assert main([*arguments, *FAST, "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert list(results) == names
    if "--kid-subsets" in arguments:
        assert results["kid"]["details"]["subsets"]["size"] == 50
        assert results["kid"]["settings"] == {"kernel": "rbf"}
    if "--neighbours" in arguments:
        assert results["precision"]["settings"] == {"k": 4, "radius": None, "strict": True}
    if "--splits" in arguments:
        assert results["is"]["details"]["splits"]["splits"] == 3


def test_what_does_not_apply(capsys: Capture) -> None:
    """Of all metrics, those that need more than REAL's moments are left out with a note; named, they are an error."""
    fake = ["dataset:shapes@3", "--num-samples", "50", "--protocol", "compact", "--device", "cpu"]
    assert main(["eval", "stats:cifar10-test", *fake]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("FD[compact-v1]")
    assert "KID" not in out
    assert "kid is not computed: the statistics stats:cifar10-test have no features of single images" in err
    assert main(["kid", "stats:cifar10-test", *fake]) == 2
    assert "kid cannot be computed here: the statistics stats:cifar10-test have no features" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["eval", *SETS, "--metrics", "fid,kidd"], "Did you mean kid?"),
        (["eval", *SETS, "--metrics", ","], "expected at least one metric"),
        (["kid", *SETS, "--kid-subsets", "100"], "not a number of subsets and a size"),
        (["kid", *SETS, "--kid-subsets", "0x9"], "a size of at least 2"),
        (["kid", *SETS, "--kid-subsets", "9x900"], "found 120 real and 120 fake"),
        (["pr", *SETS[:2], "--num-samples", "4"], "at least 6"),
        (["pr", *SETS, "--neighbours", "500"], "need more than 500 real images; found 120"),
        (["is", SETS[0], "--num-samples", "1"], "at least 2"),
    ],
)
def test_bad_input(arguments: list[str], message: str, capsys: Capture) -> None:
    assert main([*arguments, *FAST]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_settings_by_name_from_python() -> None:
    with pytest.raises(ConfigError, match="unknown argument 'kid_subset'. Did you mean kid_subsets"):
        evaluate(*SETS[:2], num_samples=9, protocol="compact", kid_subset=(1, 2))
    with pytest.raises(ConfigError, match="it compares with real images; give REAL"):
        evaluate(None, np.stack([render(i) for i in range(9)]), metrics=("kid",), protocol="compact", device="cpu")
    alone = evaluate(None, np.stack([render(i) for i in range(30)]), metrics=("is",), protocol="compact", device="cpu")
    assert alone.real["kind"] == "none"
    assert alone["is"].n_real is None


@pytest.mark.parametrize("line", ["cache = 1", "compile = 1", "cache-dir = 5", "report = 5", "json = 1"])
def test_values_of_another_kind_in_the_file_iv(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganeval.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GANEVAL_CACHE", raising=False)
    (tmp_path / "c.toml").write_text(line + "\n")
    assert main(["fid", "a", "b", "--config", "c.toml"]) == 2
    assert "Traceback" not in (said := capsys.readouterr().err)
    assert "got" in said


def test_one_file_for_two_outputs_iv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ganeval.cli.main import main

    one = str(tmp_path / "one.json")
    sides = ["dataset:shapes@1", "dataset:shapes@2", "--num-samples", "9", "--protocol", "compact"]
    assert main(["fid", *sides, "-o", one, "--report", one]) == 2
    assert "name the same file" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_no_failed_gate() -> None:
    command = [sys.executable, "-m", "ganeval", "cite", "fid", "--json"]
    with open("/dev/full", "w") as full:
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert run.returncode == 2
    assert "No space left" in run.stderr
    assert "Traceback" not in run.stderr


def test_compare_level_iv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ganeval.cli.main import main

    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--level", "nan"]) == 2
    assert "expected a number between 0.5 and 1" in capsys.readouterr().err
