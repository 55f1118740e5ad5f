"""On what a number was computed: versions, device, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch

_PACKAGES = ("ganeval", "torch", "torchvision", "numpy", "scipy", "pillow")


def environment(device: torch.device, precision: str, *, compiled: bool = False) -> dict[str, object]:
    """A JSON-able record; ``commit`` is that of the working folder, so that a result can be tied to a model's code."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in _PACKAGES}},
        "platform": platform.platform(),
        "device": f"{device} ({name})",
        "threads": torch.get_num_threads(),
        "dtype": precision,
        "tf32": precision == "tf32",  # otherwise switched off while a network runs
        "compiled": compiled,
        "commit": _commit(_working_folder()),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _working_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it has been removed
        return None


@cache
def _commit(folder: str | None) -> str | None:
    if folder is None:
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() or None
