"""What runs, and what is said, where faiss or lpips does not import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SETS = ("dataset:shapes@1", "dataset:shapes-striped@2", "--num-samples", "60", "--protocol", "compact")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose faiss and lpips raise, as a library for another machine does."""
    folder = tmp_path_factory.mktemp("broken")
    folder.joinpath("faiss.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')\n")
    folder.joinpath("lpips.py").write_text("raise ImportError('no module named torchvision')\n")
    return folder


def run(folder: Path | None, *command: str) -> subprocess.CompletedProcess[str]:
    path = [str(folder)] if folder else []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*path, *filter(None, [os.environ.get("PYTHONPATH")])])}
    program = [sys.executable, "-m", "ganeval", *command, "--device", "cpu"]
    return subprocess.run(program, env=environment, capture_output=True, text=True, check=False)


def test_the_neighbours_are_the_same_without_faiss(broken: Path) -> None:
    command = ("eval", *SETS, "--metrics", "fid,pr,authpct", "--json")
    usual, without = run(None, *command), run(broken, *command)
    assert (usual.returncode, without.returncode) == (0, 0), without.stderr
    expected, found = json.loads(usual.stdout), json.loads(without.stdout)
    assert len(found["results"]) == 6
    for name, entry in found["results"].items():
        assert entry["value"] == pytest.approx(expected["results"][name]["value"], rel=1e-12), name
    told = "neighbours are searched by PyTorch, since faiss does not import: libgomp"
    assert any(told in warning for warning in found["warnings"])
    assert without.stderr.count(f"note: {told}") == 1
    assert "faiss" not in usual.stderr


@pytest.mark.nightly
def test_what_needs_them_says_so_and_the_rest_runs(broken: Path) -> None:
    copying = run(broken, "ct", *SETS, "--test", "dataset:shapes@3")
    assert copying.returncode == 2
    assert "faiss, which does not import: libgomp" in copying.stderr
    assert "Install faiss-cpu" in copying.stderr
    found = run(broken, "ppl", "gen:dcgan-cifar10", "--pairs", "10", "--distance", "compact")
    assert found.returncode == 0, found.stderr
    doctor = subprocess.run(
        [sys.executable, "-m", "ganeval", "doctor"],
        env={**os.environ, "PYTHONPATH": f"{broken}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert doctor.returncode == 0, doctor.stderr
    assert "does not import: libgomp" in doctor.stdout
