"""Exit codes, streams and configuration, with commands that need no network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.schemas import require_valid

from ganeval.cli import main as cli
from ganeval.cli.main import main

Capture = pytest.CaptureFixture[str]


def test_help_lists_every_command(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in cli.commands())


@pytest.mark.parametrize("name", list(cli.commands()))
def test_every_command_has_help_with_examples(name: str, capsys: Capture) -> None:
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example" in out
    assert f"ganeval {name}" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fdi"], "Did you mean 'fid'?"),
        (["fid", "--josn", "a", "b"], "Did you mean '--json'?"),
        (["fid", "a"], "Missing argument 'FAKE'"),
        (["fid", "a", "b", "--trace", "magic"], "magic"),
        (["fid", "a", "b", "--value-range", "1,-1"], "is not two finite numbers"),
        (["fid", "a", "b", "--value-range", "nan,1"], "finite"),
        (["fid", "a", "b", "--feature-memory", "much"], "not a size, for instance 256MB or 2GB. Try 'ganeval fid"),
        (["cite", "fid", "kid"], "unexpected extra argument (kid). Try"),
        (["cite", "fidd"], "Did you mean fid?"),
    ],
)
def test_usage_errors_are_one_line_and_exit_2(arguments: list[str], message: str, capsys: Capture) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["cite", "nope"], ["cite", "--josn"], ["nonsense"], ["cite"]])
def test_json_on_failure_is_one_document(arguments: list[str], capsys: Capture) -> None:
    assert main([*arguments, "--json"]) == 2
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert set(document) == {"$schema", "schema", "error"}
    require_valid(document)
    assert document["error"]["kind"] in {"usage", "configuration"}
    assert err.startswith("error: ")


def test_internal_error_is_70_with_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(cli.ganeval_command, "main", broken)
    assert main(["cite", "fid", "--json"]) == 70
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["kind"] == "internal"
    assert "Traceback" in err
    assert "report" in err


def test_interrupt_is_130(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.ganeval_command, "main", interrupted)
    assert main(["cite", "fid"]) == 130
    assert capsys.readouterr().out == ""


def test_cite(capsys: Capture) -> None:
    assert main(["cite", "fid"]) == 0
    assert capsys.readouterr().out.startswith("@inproceedings{heusel2017gans,")


@pytest.mark.parametrize("arguments", [[], ["stats"], ["weights"]])
def test_without_a_command_the_help_is_shown_as_it_is(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Usage: ganeval")
    assert "Commands:\n" in err


class TestConfiguration:
    """command line > environment > file > default; an unknown key is an error."""

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def is_json(self, capsys: Capture, *arguments: str) -> bool:
        assert main(["cite", "fid", *arguments]) == 0
        return capsys.readouterr().out.startswith("{")

    def test_file(self, capsys: Capture) -> None:
        Path("ganeval.toml").write_text('format = "json"\n')
        assert self.is_json(capsys)
        assert not self.is_json(capsys, "--format", "text")

    def test_table_of_a_command_beats_top_level(self, capsys: Capture) -> None:
        Path("ganeval.toml").write_text('format = "json"\n[cite]\nformat = "text"\n')
        assert not self.is_json(capsys)

    def test_environment_beats_file(self, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
        Path("ganeval.toml").write_text('format = "json"\n')
        monkeypatch.setenv("GANEVAL_FORMAT", "text")
        assert not self.is_json(capsys)

    def test_pyproject_is_read_after_ganeval_toml(self, capsys: Capture) -> None:
        Path("pyproject.toml").write_text('[tool.other]\nx = 1\n[tool.ganeval]\nformat = "json"\n')
        assert self.is_json(capsys)
        Path("ganeval.toml").write_text('format = "text"\n')
        assert not self.is_json(capsys)

    def test_named_file(self, capsys: Capture) -> None:
        Path("other.toml").write_text('format = "json"\n')
        assert self.is_json(capsys, "--config", "other.toml")
        assert self.is_json(capsys, "--config=other.toml")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("devcie = 'cpu'", "no option 'devcie'. Did you mean 'device'?"),
            ("[fid]\nrows = true", "table [fid]: there is no option 'rows'"),
            ("[fed]\nseed = 1", "no command 'fed'"),
            ("format = 'loud'", "loud"),
            ("= 3", "it is not TOML"),
            ("cite = 3", "cite is a command; expected a table"),
            ('"$schema" = "urn:ganeval:schema:config:0"', 'expected "urn:ganeval:schema:config:1"'),
            ('"$schema" = 1', "ganeval.toml: $schema is 1; expected"),
            ('[cite]\n"$schema" = "urn:ganeval:schema:config:1"', "table [cite]: there is no option '$schema'"),
        ],
    )
    def test_iv(self, text: str, message: str, capsys: Capture) -> None:
        Path("ganeval.toml").write_text(text)
        assert main(["cite", "fid"]) == 2
        assert message in capsys.readouterr().err

    def test_json_of_the_file_holds_for_errors(self, capsys: Capture) -> None:
        for text, arguments, kind in (
            ("json = true", ["--bad"], "usage"),
            ('"$schema" = "urn:other"\njson = true', ["fid"], "configuration"),
        ):
            Path("ganeval.toml").write_text(text)
            assert main(["cite", *arguments]) == 2
            assert json.loads(capsys.readouterr().out)["error"]["kind"] == kind

    def test_a_key_where_a_table_belongs(self, capsys: Capture) -> None:
        Path("pyproject.toml").write_text("[tool]\nganeval = 3")
        assert main(["cite", "fid"]) == 2
        assert "must be a table" in capsys.readouterr().err

    def test_missing_file(self, capsys: Capture) -> None:
        assert main(["cite", "fid", "--config", "none.toml"]) == 2
        assert "configuration file not found: none.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["cite", "fid"], "citation"),
        (["doctor"], "doctor"),
        (["check", "dataset:shapes-plain:16", "dataset:shapes-striped:16", "--num-samples", "9"], "check"),
        (["weights", "list"], "weights"),
        (["weights", "verify"], "weights"),
        (["stats", "show", "stats:cifar10-test"], "statistics"),
    ],
)
def test_every_command_writes_its_document_to_a_file(
    arguments: list[str], key: str, tmp_path: Path, capsys: Capture
) -> None:
    target = tmp_path / "out.json"
    assert main([*arguments, "--json", "-o", str(target)]) == 0
    assert key in (document := json.loads(target.read_text(encoding="utf-8")))
    assert "$schema" not in document  # that of results is not for it
    assert json.loads(capsys.readouterr().out) == document
    assert main([*arguments, "-o", str(tmp_path / "no" / "out.json")]) == 2
    assert "no" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json"]


def test_shards_of_statistics_merge(tmp_path: Path, capsys: Capture) -> None:
    build = ["stats", "build", "dataset:shapes:16", "--num-samples", "6", "--protocol", "compact", "--device", "cpu"]
    for i in (1, 2):
        assert main([*build, "--shard", f"{i}/2", "-o", str(tmp_path / f"{i}.npz")]) == 0
    parts = [str(tmp_path / f"{i}.npz") for i in (1, 2)]
    capsys.readouterr()
    assert main(["stats", "merge", *parts, "-o", str(tmp_path / "all.npz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["statistics"]["n"] == 6
    assert main(["stats", "merge", parts[0], *parts, "-o", str(tmp_path / "twice.npz")]) == 2
    assert "3 images are in both" in capsys.readouterr().err
    assert not (tmp_path / "twice.npz").exists()
    message = "is not a share from 1/N to N/N"
    for text in ("3/2", "0/2", "half"):
        assert main([*build, "--shard", text, "-o", str(tmp_path / "no.npz")]) == 2
        assert message in capsys.readouterr().err
