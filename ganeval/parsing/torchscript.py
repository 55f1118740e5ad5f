"""TorchScript archives. They are no pickles, but code, which runs when the module is called."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from ganeval.arithmetic import plain_defaults
from ganeval.errors import WeightsError


@plain_defaults()
def load_torchscript(path: Path, advice: str) -> torch.jit.ScriptModule:
    """Open a TorchScript archive on the CPU.

    Args:
        advice: what to do with a file that is not one.

    Raises:
        WeightsError: no such file, or not a TorchScript archive.
    """
    if not path.is_file():
        raise WeightsError(f"there is no file {path}. Give the path of a TorchScript file that exists.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # deprecated, and still what people have
            warnings.simplefilter("ignore", DeprecationWarning)
            with path.open("rb") as file:  # by the file, since torch does not take every path
                module: torch.jit.ScriptModule = torch.jit.load(file, map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or ["damaged"])[0][:200]
        raise WeightsError(
            f"{path} is not a TorchScript file ({reason}), and pickles are never read. {advice}"
        ) from error
    return module
