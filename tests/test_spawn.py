"""Where processes are spawned, as on macOS and Windows: workers inherit nothing, and numbers stay the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ganeval.cli.main import main

pytestmark = pytest.mark.nightly

HERE = Path(__file__).resolve().parent
OPTIONS = ("--protocol", "compact", "--metrics", "fid,kid", "--device", "cpu", "--batch-size", "16", "--json", "-q")
WORKERS = ("test_loading.py", "test_room.py", "test_folder.py", "test_archive.py")  # of the tests of images
SUITE = """
import pytest

@pytest.mark.ganeval_gate(rules={"fid": {"max": 1e9}}, protocol="compact", workers=2, device="cpu")
def test_model(ganeval_gate):
    assert ganeval_gate("real", "fake").checks[0].measured == pytest.approx(float(open("expected").read()), rel=1e-6)
"""
Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def spawned(tmp_path: Path) -> Iterator[Program]:
    """Runs a program in which processes are spawned; afterwards, it has started some, and all of them so."""
    started = tmp_path / "started"
    path = [str(HERE / "support" / "spawned"), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "GANEVAL_TEST_STARTED": str(started),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    yield run
    assert set(started.read_text(encoding="utf-8").split()) == {"spawn"}


@pytest.fixture
def expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """Two folders, and the values without workers."""
    monkeypatch.chdir(tmp_path)
    for name, spec in (("real", "dataset:shapes:16@1"), ("fake", "dataset:shapes-striped:16@2")):
        assert main(["sample", spec, "-n", "60", "-o", name, "-q"]) == 0
    assert main(["eval", "real", "fake", *OPTIONS, "--workers", "0"]) == 0
    document = json.loads(capsys.readouterr().out.partition("\n{")[2].join(("{", "")))
    return {name: entry["value"] for name, entry in document["results"].items()}


def values(run: subprocess.CompletedProcess[str]) -> dict[str, float]:
    assert run.returncode == 0, run.stderr
    return {name: entry["value"] for name, entry in json.loads(run.stdout)["results"].items()}


def test_the_program(expected: dict[str, float], spawned: Program) -> None:
    assert values(spawned("-m", "ganeval", "eval", "real", "fake", *OPTIONS, "--workers", "2")) == expected


def test_ranks(expected: dict[str, float], spawned: Program) -> None:
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ganeval")
    found = values(spawned(*torchrun, "eval", "real", "fake", *OPTIONS, "--workers", "1"))
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_plugin_of_pytest(expected: dict[str, float], spawned: Program, tmp_path: Path) -> None:
    (tmp_path / "test_model.py").write_text(SUITE, encoding="utf-8")
    (tmp_path / "expected").write_text(repr(expected["fid"]), encoding="utf-8")
    installed = any(e.value == "ganeval.pytest_plugin" for e in entry_points(group="pytest11"))
    named = [] if installed else ["-p", "ganeval.pytest_plugin"]
    run = spawned("-m", "pytest", "-q", "-p", "no:cacheprovider", *named, "test_model.py")
    assert run.returncode == 0, run.stdout


@pytest.mark.timeout(1800)
def test_the_suite_of_the_workers(spawned: Program) -> None:
    """Imported by file name, because a worker that inherits nothing must find the classes of the tests."""
    files = [str(HERE / "images" / name) for name in WORKERS]
    options = ("-p", "no:cacheprovider", "-n", "0", "--import-mode=prepend", "-c", str(HERE.parent / "pyproject.toml"))
    run = spawned("-m", "pytest", "-q", *options, *files)
    assert run.returncode == 0, run.stdout[-4000:]
