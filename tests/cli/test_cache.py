"""``ganeval cache list | clear``, and the options of every command that measures images."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ganeval.cli.main import main

Capture = pytest.CaptureFixture[str]
ON = ["--protocol", "compact", "--device", "cpu"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("sets")
    assert main(["sample", "dataset:shapes-plain@1", "-n", "40", "-o", str(folder / "real"), "-q"]) == 0
    assert main(["sample", "dataset:shapes-striped@2", "-n", "30", "-o", str(folder / "fake.zip"), "-q"]) == 0
    return str(folder / "real"), str(folder / "fake.zip")


@pytest.fixture
def kept(sets: tuple[str, str], tmp_path: Path) -> Path:
    """A cache that knows both sets."""
    assert main(["fid", *sets, *ON, "-q", "--cache", "--cache-dir", str(tmp_path / "cache")]) == 0
    return tmp_path / "cache"


def document(*arguments: str, capsys: Capture, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_second_run_says_what_it_recalled(sets: tuple[str, str], tmp_path: Path, capsys: Capture) -> None:
    where = ["--cache", "--cache-dir", str(tmp_path / "cache")]
    runs = [document("fid", *sets, *ON, *more, capsys=capsys) for more in (["--no-cache"], where, where)]
    assert runs[0]["results"] == runs[1]["results"] == runs[2]["results"]
    assert [run["environment"].get("recalled") for run in runs] == [
        None,
        {"real": 0, "fake": 0},
        {"real": 40, "fake": 30},
    ]
    assert main(["fid", *sets, *ON, *where, "-v"]) == 0
    said = capsys.readouterr().err
    assert "real: 40 of 40 images recalled from the cache" in said
    assert "fake: 30 of 30 images recalled from the cache" in said
    assert main(["fid", *sets, *ON, *where]) == 0
    assert "recalled" not in capsys.readouterr().err


def test_statistics_and_gate_take_the_options(
    sets: tuple[str, str], kept: Path, tmp_path: Path, capsys: Capture
) -> None:
    where = ["--cache", "--cache-dir", str(kept), "-v"]
    assert main(["stats", "build", sets[0], *ON, *where, "-o", str(tmp_path / "real.npz")]) == 0
    assert "images: 40 of 40 images recalled from the cache" in capsys.readouterr().err
    (tmp_path / "ganeval.toml").write_text("[gate.rules.fid]\nmax = 1e9\ncompare = 'value'\n")
    config = ["--config", str(tmp_path / "ganeval.toml")]
    assert main(["gate", *sets, *ON, *where, *config]) in (0, 3)
    assert "real: 40 of 40 images recalled from the cache" in capsys.readouterr().err


def test_switched_off(sets: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANEVAL_CACHE_DIR", str(tmp_path / "cache"))
    for value, options in (("1", ["--no-cache"]), ("0", []), ("false", [])):
        monkeypatch.setenv("GANEVAL_CACHE", value)
        assert main(["fid", *sets, *ON, "-q", *options]) == 0
        assert not (tmp_path / "cache").exists()
    monkeypatch.delenv("GANEVAL_CACHE")  # the default
    assert main(["fid", *sets, *ON, "-q"]) == 0
    assert list((tmp_path / "cache").rglob("*.features"))


@pytest.mark.parametrize("by", ["option", "variable", "file"])
def test_bound(
    sets: tuple[str, str], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.chdir(tmp_path)
    size = ["--cache-size", "9KB"] if by == "option" else []
    if by == "variable":
        monkeypatch.setenv("GANEVAL_CACHE_SIZE", "9KB")
    if by == "file":
        (tmp_path / "ganeval.toml").write_text('cache-size = "9KB"\n')
    assert main(["fid", *sets, *ON, "--cache", "--cache-dir", "cache", *size]) == 0
    assert "note: the cache is full" in capsys.readouterr().err
    assert not list((tmp_path / "cache").rglob("*.features"))


def test_list(sets: tuple[str, str], kept: Path, capsys: Capture) -> None:
    found = document("cache", "list", "--cache-dir", str(kept), capsys=capsys)["cache"]
    assert found["folder"] == str(kept)
    assert {(row["spec"], row["images"], row["entries"]) for row in found["sets"]} == {
        (sets[0], 40, 1),
        (sets[1], 30, 1),
    }
    assert {(row["protocol"], row["extractor"], row["layer"]) for row in found["sets"]} == {
        ("compact", "compact-v1", "256")
    }
    assert found["bytes"] == sum(path.stat().st_size for path in kept.rglob("*.features"))
    assert main(["cache", "list", "--cache-dir", str(kept)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "images",
        "of",
        "protocol",
        "precision",
        "layer",
        "weights",
        "images",
        "MB",
        "last",
        "used",
    ]
    assert len(lines) == 4
    assert lines[-1] == f"{found['bytes'] / 1e6:.1f} MB in {kept}"
    assert main(["cache", "list", "--cache-dir", str(kept), "--format", "md"]) == 0
    assert capsys.readouterr().out.count("|") == 4 * 9
    assert main(["cache", "list", "--cache-dir", str(kept / "none")]) == 0
    assert capsys.readouterr().out == f"the cache is empty ({kept / 'none'})\n"


def test_clear(kept: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANEVAL_CACHE_DIR", str(kept))
    nothing = {"entries": 0, "bytes": 0, "in_use": 0}
    assert document("cache", "clear", "--older-than", "1", capsys=capsys)["cleared"] == nothing
    assert document("cache", "clear", "--protocol", "ttur", capsys=capsys)["cleared"] == nothing
    size = sum(path.stat().st_size for path in kept.rglob("*.features"))
    target = tmp_path / "cleared.json"
    assert main(["cache", "clear", "--protocol", "compact", "-o", str(target)]) == 0
    assert capsys.readouterr().out == f"removed 2 entries, {size / 1e6:.1f} MB\n"
    assert json.loads(target.read_text())["cleared"] == {"entries": 2, "bytes": size, "in_use": 0}
    assert not list(kept.rglob("*.features"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["list", "extra"], "unexpected extra argument"),
        (["clear", "--older-than", "-1"], "'--older-than'"),
        (["clear", "--older-than", "soon"], "is not a valid float range"),
        (["clear", "--older-than", "nan"], "--older-than is nan, expected a number of days"),
        (["clear", "--protocol", "compakt"], "Unknown protocol 'compakt'"),
        (["clear", "--protocol", "compact:9"], "has no layer '9'"),
        (["list", "--cache-dir", __file__], "is a file"),
        (["drop"], "No such command 'drop'"),
    ],
)
def test_bad_input(
    arguments: list[str], says: str, capsys: Capture, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANEVAL_CACHE_DIR", str(kept))
    error = document("cache", *arguments, capsys=capsys, code=2)["error"]
    assert says in error["message"]
    assert len(list(kept.rglob("*.features"))) == 2
    assert main(["fid", "a", "b", "--cache-size", "none"]) == 2
    assert "is not a size" in capsys.readouterr().err


def test_other_files_in_the_folder_stay(
    sets: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A folder that was named as the cache may hold anything: only what the cache wrote is its own to throw away."""
    monkeypatch.setenv("GANEVAL_CACHE", "1")
    theirs = [tmp_path / "runs" / name for name in ("results.json", "x.features", ".hidden.json", "about.json")]
    theirs[0].parent.mkdir()
    for path in theirs:
        path.write_text("{}")
        os.utime(path, (0, 0))
    measure = ["fid", *sets, "--protocol", "compact", "--cache-dir", str(tmp_path), "--cache-size", "1KB", "-q"]
    assert main(measure) == 0
    assert main(["cache", "clear", "--cache-dir", str(tmp_path)]) == 0
    assert all(path.exists() for path in theirs)
    capsys.readouterr()
    monkeypatch.delenv("GANEVAL_CACHE_DIR", raising=False)
    monkeypatch.setattr("ganeval.features.cache.default_folder", lambda: tmp_path / "usual")
    assert document("cache", "list", "--cache-dir", "", capsys=capsys)["cache"]["folder"] == str(tmp_path / "usual")


def test_the_file_does_not_say_what_is_thrown_away(kept: Path, tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "ganeval.toml"
    config.write_text('protocol = "ttur"\n')
    place = ["--cache-dir", str(kept), "--config", str(config)]
    assert document("cache", "clear", *place, capsys=capsys)["cleared"]["entries"] == 2
