"""What a result says of where it was computed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from ganeval.environment import environment


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
