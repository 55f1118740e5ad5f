"""What users install: the built wheel, in a folder outside the checkout, runs the quick start offline."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = folder.glob("ganeval-*.whl")
    target = folder / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True, text=True)
    return target


def run(installed: Path, *command: str) -> str:
    """In an environment whose only ganeval is the installed one."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "GANEVAL_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=installed.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_is_the_installed_one(installed: Path) -> None:
    where = run(installed, "-c", "import ganeval; print(ganeval.__file__)")
    assert Path(where.strip()).is_relative_to(installed)
    assert (installed / "bin" / "ganeval").exists() or (installed / "Scripts").exists()


def test_quick_start(installed: Path) -> None:
    out = run(
        installed, "-m", "ganeval", "fid", "stats:cifar10-test", "dataset:shapes", "--num-samples", "700",
        "--protocol", "compact",
    )  # fmt: skip
    assert out.startswith("FD[compact-v1] ")
    assert "95 % CI" in out
    assert "(compact, 10000 real, 700 fake)" in out


def test_it_holds_nothing_else(installed: Path) -> None:
    names = {p.name for p in installed.iterdir()}
    assert {n for n in names if not n.endswith(".dist-info")} <= {"ganeval", "bin", "Scripts", "__pycache__"}
    assert (installed / "ganeval" / "py.typed").exists()
    assert (installed / "ganeval" / "reference_stats" / "manifest.toml").exists()
    assert {"base.html.jinja", "style.css"} <= {p.name for p in (installed / "ganeval" / "report").iterdir()}
