"""Wheels for a machine without network: downloaded beforehand where there is one, installed there as far as missing."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.runs import ROOT

# What has to be there already: they are large, and belong to the driver of the machine.
OF_THE_MACHINE = ("torch", "torchvision")
PEERS = ("pytorch-fid==0.3.0", "torch-fidelity==0.4.0")
# pytest, which runs the tests marked gpu, with what it needs
TOOLS = ("pytest", "pytest-timeout", "hypothesis", "iniconfig", "pluggy", "packaging", "sortedcontainers", "pygments")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")

Run = Callable[[Sequence[str]], int]


def name_of(requirement: str) -> str:
    """``faiss-cpu`` of ``faiss-cpu>=1.8`` and of ``faiss_cpu-1.12.0-cp312-...whl``."""
    found = re.match(r"[A-Za-z0-9._]+(?:-(?!\d)[A-Za-z0-9._]+)*", requirement)
    assert found is not None
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def required() -> list[str]:
    """Every runtime dependency but torch's, the peers, and the tools of the tests."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    return [one for one in (*declared, *PEERS, *TOOLS) if name_of(one) not in OF_THE_MACHINE]


def run(command: Sequence[str]) -> int:
    return subprocess.run(command, check=False).returncode


def prepare(folder: Path, python: str, run: Run = run) -> list[str]:
    """Download the wheels into a folder; the names of those that there are not.

    Args:
        python: version of the machine that they are for, such as ``3.12``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    platforms = [part for name in PLATFORMS for part in ("--platform", name)]
    missing = []
    for requirement in required():
        command = [
            sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version",
            python, "--implementation", "cp", *platforms, "-d", str(folder), requirement,
        ]  # fmt: skip
        if run(command):
            missing.append(requirement)
    return missing


def installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def missing_wheels(folder: Path) -> list[Path]:
    """The wheels of what is not installed here: what is, stays as it is."""
    return [wheel for wheel in sorted(folder.glob("*.whl")) if not installed(name_of(wheel.name))]


def install(folder: Path, target: Path, run: Run = run) -> list[str]:
    """Install into a folder of its own what is missing here; the names of it.

    Raises:
        RuntimeError: a wheel cannot be installed.
    """
    wheels = missing_wheels(folder)
    command = [
        sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--target",
        str(target), *map(str, wheels),
    ]  # fmt: skip
    if wheels and run(command):
        raise RuntimeError(f"pip could not install the wheels of {folder}; are they for this version of Python?")
    return [name_of(wheel.name) for wheel in wheels]
