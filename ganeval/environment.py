"""The environment of a result: versions, plugins, device, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import torch

from ganeval.parsing.plugins import plugins

_PACKAGES = ("ganeval", "torch", "torchvision", "numpy", "scipy", "pillow")


def environment(device: torch.device, precision: str, *, compiled: bool = False) -> dict[str, object]:
    """The environment as JSON values; ``commit`` is that of the working folder, to identify the code of a model."""
    used = {plugin.package: plugin.version for plugin in plugins() if plugin.fault is None}
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in _PACKAGES}},
        **({"plugins": used} if used else {}),
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
    """The commit, with ``-dirty`` if files were changed, or ``-unchecked`` if only a program could tell.

    Git starts programs that the configuration of a repository names, and a folder may come from anywhere. So its file
    system monitor and hooks are switched off, nothing is fetched, submodules are not read, and the files of a
    repository with filters are not compared.
    """
    if folder is None or (head := _git(folder, "rev-parse", "--verify", "--short=12", "HEAD")) is None:
        return None
    filters = _git(folder, "config", "--show-scope", "--get-regexp", r"^filter\.") or ""
    if any(line.startswith(("local", "worktree")) for line in filters.splitlines()):
        return f"{head}-unchecked"
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all")
    return f"{head}-dirty" if changed else head


def _git(folder: str, *command: str) -> str | None:
    """The output of a git command; None if it fails or takes longer than 5 s."""
    inert = ("-c", "core.fsmonitor=false", "-c", f"core.hooksPath={os.devnull}")
    environment = {**os.environ, "GIT_ALLOW_PROTOCOL": "none", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        run = subprocess.run(
            ["git", *inert, *command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None
