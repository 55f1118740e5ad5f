"""``ganeval sample``: what it prints and what it refuses; the files are tested with ``save_images``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ganeval.cli.main import main
from ganeval.cli.sample import sample
from ganeval.errors import InputError


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(sample, [str(a) for a in arguments], catch_exceptions=False, standalone_mode=False)


def test_writes_and_goes_on(tmp_path: Path) -> None:
    first = run("dataset:shapes-plain:8@1", "-n", 3, "-o", tmp_path / "out")
    assert first.stdout == f"3 images of dataset:shapes-plain:8@1 in {tmp_path / 'out'}\n"
    second = run("dataset:shapes-plain:8@1", "-n", 4, "-o", tmp_path / "out", "--batch-size", 2)
    assert second.stdout.endswith("3 of them existing before\n")
    assert len(list((tmp_path / "out").glob("*.png"))) == 4


def test_json_is_one_document(tmp_path: Path) -> None:
    out = json.loads(run("dataset:shapes", "-n", 2, "-o", tmp_path / "a.npz", "--seed", 5, "--json").stdout)
    assert set(out) == {"schema", "sample"}
    assert (out["sample"]["n"], out["sample"]["written"], out["sample"]["source"]["seed"]) == (2, 2, 5)


def test_overwrite_says_what_stays(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").touch()
    done = run("dataset:shapes", "-n", 1, "-o", tmp_path, "--overwrite")
    assert "cat.jpg" in done.stderr
    assert "cat.jpg" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["real/"], "not a generator or renderer"),
        (["dataset:shapes-dotted"], "does not name rendered images"),
        (["dataset:shapes:4"], "8 to 4096 pixels"),
    ],
)
def test_bad_input_iv(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        run(*arguments, "-n", 1, "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_iv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(InputError, match="out cannot be read or made: no space left on device"):
        run("dataset:shapes:16", "-n", 1, "-o", tmp_path / "out")


def test_usage_errors_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["-n", "0", "-o", "x"], ["-o", "x"], ["-n", "1"]):
        assert main(["sample", "dataset:shapes", *arguments]) == 2
        assert capsys.readouterr().err.count("\n") == 1
