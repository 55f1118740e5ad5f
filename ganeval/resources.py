"""Where the files that ship with ganeval are: beside the package in a checkout, inside it when it is installed."""

from __future__ import annotations

from pathlib import Path

from ganeval.errors import InputError


def reference_stats_dir() -> Path:
    """The folder ``reference_stats``.

    Raises:
        InputError: it is in neither place, so the installation is damaged.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "reference_stats", package.parent / "reference_stats"):
        if (folder / "manifest.toml").is_file():
            return folder
    raise InputError(
        f"ganeval's reference_stats folder is neither in {package} nor beside it: the installation is damaged. "
        "Install ganeval again."
    )
