"""What a result says of where it was computed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from ganeval.environment import _commit, environment


def test_commit_is_that_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the folder as it is now, not of that in which the first result was computed."""
    code, elsewhere = tmp_path / "code", tmp_path / "elsewhere"
    code.mkdir()
    elsewhere.mkdir()
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", "model"]):
        subprocess.run(["git", "-C", str(code), *command], check=True)
    head = subprocess.run(["git", "-C", str(code), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)

    def commit() -> object:
        return environment(torch.device("cpu"), "float32")["commit"]

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(elsewhere)
    assert commit() is None
    monkeypatch.chdir(code)
    assert commit() == head.stdout[:12]
    elsewhere.rmdir()


def test_a_repository_from_elsewhere_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own configuration may name programs that git starts while it compares files: none does here."""

    def git(*command: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b.c", *command], check=True)

    def commit() -> str:
        Path("model.py").touch()  # git must look into a file whose time is new
        _commit.cache_clear()
        return str(environment(torch.device("cpu"), "float32")["commit"])

    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    Path("model.py").write_text("a = 1\n")
    git("add", "model.py")
    git("-c", "commit.gpgsign=false", "commit", "-q", "-m", "model")
    head = commit()
    assert len(head) == 12
    Path("model.py").write_text("a = 2\n")
    assert commit() == f"{head}-dirty"
    Path("model.py").write_text("a = 1\n")
    hook = Path(".git/hooks/post-index-change")
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    hook.chmod(0o755)
    git("config", "core.fsmonitor", f"touch {tmp_path}/ran; true")
    assert commit() == head
    git("config", "filter.evil.clean", f"touch {tmp_path}/ran; cat")
    Path(".gitattributes").write_text("* filter=evil\n")
    assert commit() == f"{head}-unchecked"
    assert not Path("ran").exists()
