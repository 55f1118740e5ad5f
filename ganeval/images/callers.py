"""Which modules' methods run in a thread, read off its frames: a module whose ``forward`` is called calls no hook."""

from __future__ import annotations

import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

_TORCH = str(Path(torch.__file__).parent)
_LIBRARY = sysconfig.get_path("stdlib")
_PACKAGES = ("site-packages", "dist-packages")  # folders inside that of the standard library
_WAITING = {"wait", "get", "_worker", "worker", "select", "poll", "_recv"}  # functions of the library that wait


def owners(frame: FrameType | None, end: int) -> list[nn.Module]:
    """Modules whose methods are running, outermost first.

    Args:
        frame: the innermost.
        end: id of the frame at which to stop; of no frame of this thread for the whole of it.
    """
    found: list[nn.Module] = []
    while frame is not None and id(frame) != end:
        if (module := _owner(frame)) is not None and all(module is not one for one in found):
            found.append(module)
        frame = frame.f_back
    return found[::-1]


@contextmanager
def calls_of_methods(meet: Callable[[nn.Module], None]) -> Iterator[None]:
    """``meet`` is called as a method of a module begins in this thread; not where a profiler is already running."""

    def event(frame: FrameType, kind: str, _: Any) -> None:
        if kind == "call" and (module := _owner(frame)) is not None:
            meet(module)

    if sys.getprofile() is not None:
        yield
        return
    sys.setprofile(event)
    try:
        yield
    finally:
        sys.setprofile(None)


def busy_threads() -> set[int]:
    """Threads with work of their own: not this one, nor those that wait in the standard library, as in a pool.

    A thread that waits for a data loader of PyTorch is busy with what takes the batches.
    """
    here = threading.get_ident()
    return {ident for ident, frame in sys._current_frames().items() if ident != here and not _waits(frame)}


def _waits(frame: FrameType) -> bool:
    name, further = frame.f_code.co_filename, frame.f_back
    if frame.f_code.co_name not in _WAITING:
        return False
    while further is not None:
        if further.f_code.co_filename.startswith(_TORCH):
            return False
        further = further.f_back
    return name.startswith(_LIBRARY) and not any(folder in name for folder in _PACKAGES)


def _owner(frame: FrameType) -> nn.Module | None:
    """The module of which a frame runs a method; methods that PyTorch defines are called by hooks or change nothing."""
    code = frame.f_code
    if not code.co_argcount or code.co_name == "__init__" or code.co_filename.startswith(_TORCH):
        return None
    first = frame.f_locals.get(code.co_varnames[0])
    return first if isinstance(first, nn.Module) and "_modules" in vars(first) else None
