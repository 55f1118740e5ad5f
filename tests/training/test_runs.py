"""Folders of runs: whose they are, and what a log is worth after a kill."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ganeval.errors import ConfigError, InputError
from ganeval.training.checkpoints import save_checkpoint
from ganeval.training.runs import LOG, open_run

CONFIG = {"model": "dcgan", "architecture": {"size": 32, "width": 64}, "seed": 0, "betas": (0.5, 0.999)}


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_new_folder(tmp_path: Path) -> None:
    run = open_run(tmp_path / "deep" / "run", CONFIG)
    assert names(run.folder) == [".lock", "run.json", "samples"]


def test_held_folder_iv(tmp_path: Path) -> None:
    open_run(tmp_path, CONFIG)
    with pytest.raises(InputError, match="already holds a training run. Nothing was written. .*--resume.*--overwrite"):
        open_run(tmp_path, CONFIG)


def test_folder_of_something_else_iv(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(InputError, match=r"holds no training run but other files \(holiday.jpg\)"):
        open_run(tmp_path, CONFIG)
    with pytest.raises(InputError, match="no training run"):
        open_run(tmp_path, CONFIG, resume=True)
    assert names(tmp_path) == ["holiday.jpg"]


def test_file_in_the_way_iv(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match="not a folder"):
        open_run(tmp_path / "a", CONFIG)
    with pytest.raises(InputError, match=r"cannot be made|not a folder"):
        open_run(tmp_path / "a" / "b", CONFIG)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": {"size": 32, "width": 32}}, r"checkpoint of another architecture \(width: 64, now 32\)"),
        ({"seed": 1}, r"another run \(seed: 0, now 1\)"),
        ({"model": "cyclegan"}, "a run of dcgan, not of cyclegan"),
    ],
)
def test_resume_of_another_run_iv(tmp_path: Path, change: dict[str, object], message: str) -> None:
    open_run(tmp_path, CONFIG)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(InputError, match=message):
        open_run(tmp_path, {**CONFIG, **change}, resume=True)
    assert (tmp_path / "run.json").read_bytes() == before


def test_resume_and_overwrite_iv(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="contradict"):
        open_run(tmp_path, CONFIG, resume=True, overwrite=True)


def test_overwrite_removes_the_run_alone(tmp_path: Path) -> None:
    run = open_run(tmp_path, CONFIG)
    run.write("train", 1, {"x": 1})
    save_checkpoint(tmp_path, 1, {})
    run.sample_path(1).touch()
    for name in ("generator.safetensors", "generator.json", "a2b.safetensors", "game.png", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "samples" / "mine.png").touch()
    run.close()
    open_run(tmp_path, {**CONFIG, "seed": 3}, overwrite=True)
    assert names(tmp_path) == [".lock", "notes.txt", "run.json", "samples"]
    assert names(tmp_path / "samples") == ["mine.png"]
    assert json.loads((tmp_path / "run.json").read_text())["seed"] == 3


def test_overwrite_of_nothing_and_of_something_else(tmp_path: Path) -> None:
    open_run(tmp_path / "new", CONFIG, overwrite=True)
    (tmp_path / "generator.json").write_text("not of a run")
    with pytest.raises(InputError, match="no run.json"):
        open_run(tmp_path, CONFIG, overwrite=True)
    assert (tmp_path / "generator.json").read_text() == "not of a run"


def test_resume_of_nothing_begins(tmp_path: Path) -> None:
    assert open_run(tmp_path / "new", CONFIG, resume=True).log == []
    assert open_run(tmp_path / "new", CONFIG, resume=True).log == []


def test_what_a_kill_left_of_unfinished_files_is_removed(tmp_path: Path) -> None:
    open_run(tmp_path, CONFIG)
    left = (".checkpoint-00000007.safetensors.0123abcd.safetensors", ".checkpoint.json.0123abcd.json")
    for name in (*left, ".mine.txt.0123abcd.txt", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "samples" / ".00000007.png.0123abcd.png").touch()
    open_run(tmp_path, CONFIG, resume=True)
    assert names(tmp_path) == [".hidden", ".lock", ".mine.txt.0123abcd.txt", "run.json", "samples"]
    assert names(tmp_path / "samples") == []


def test_log_that_cannot_be_written_iv(tmp_path: Path) -> None:
    run = open_run(tmp_path, CONFIG)
    (tmp_path / LOG).mkdir()
    with pytest.raises(InputError, match=r"Cannot write .*log\.jsonl.* can be resumed"):
        run.write("train", 1, {})


def test_rewind(tmp_path: Path) -> None:
    run = open_run(tmp_path, CONFIG)
    for step in (1, 2, 3):
        run.write("train", step, {"x": step / 3})
    run.write("end", 2, {})
    with (tmp_path / LOG).open("a") as file:
        file.write('{"kind": "train", "step": 2, "x": 0.3')  # half a line
    run.close()
    again = open_run(tmp_path, CONFIG, resume=True)
    again.rewind(2)
    again.write("train", 3, {"x": 1.0})
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert lines == again.log == [{"kind": "train", "step": s, "x": s / 3} for s in (1, 2, 3)]


@pytest.mark.parametrize("how", [{"resume": True}, {"overwrite": True}])
def test_run_that_another_process_writes_iv(tmp_path: Path, how: dict[str, bool]) -> None:
    """As two terminals do: the second one ends at once, and the first one's files stay."""
    script = (
        "import sys; from ganeval.training.runs import open_run\n"
        f"run = open_run(sys.argv[1], {CONFIG!r})\n"
        "run.write('train', 1, {'x': 1.0}); print('open', flush=True); input()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        with pytest.raises(InputError, match=r"Another process is writing the training run .* Nothing was changed"):
            open_run(tmp_path, CONFIG, **how)
        assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
        other.communicate("\n")
    assert open_run(tmp_path, CONFIG, **how).log == []  # a killed or ended process holds nothing


def test_run_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(self: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("ganeval.training.runs.FileLock.acquire", acquire)
    run = open_run(tmp_path, CONFIG)
    run.write("train", 1, {"x": 1.0})
    run.close()
    assert names(tmp_path) == [LOG, "run.json", "samples"]
