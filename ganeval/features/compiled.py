"""A network as one compiled program: ``--compile``.

Kernels are made for the shape of the first batch. Batches of other shapes (the last, smaller one) go through the
network as it is, because kernels for them would cost more time than they save.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from ganeval.errors import ConfigError
from ganeval.parsing.arguments import option

_logger = logging.getLogger("ganeval")

COMPILE = option("compile", True)


def require_compiler(device: torch.device) -> None:
    """Raise ConfigError where nothing can be compiled: no C++ compiler for the CPU, no Triton for CUDA."""
    if device.type == "cpu":
        usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
        compiler = os.environ.get("CXX") or usual
        # it may be a command of several words, "ccache g++"; on Windows it is a path
        if shutil.which(compiler) is None and shutil.which(_first_word(compiler)) is None:
            raise ConfigError(f"{COMPILE} needs a C++ compiler; {compiler} is not installed. Install one, or set CXX.")
    elif device.type == "cuda":
        if find_spec("triton") is None:
            raise ConfigError(f"{COMPILE} needs Triton on CUDA: install it, or leave this option out.")
    else:
        raise ConfigError(f"{COMPILE} is not supported on {device} (supported: the CPU and CUDA). Leave it out.")


def _first_word(command: str) -> str:
    try:
        return (shlex.split(command) or [command])[0]
    except ValueError:  # quotes that do not close
        return command


class Compiled:
    """``module(x, taps)``, compiled by Inductor; on CUDA a batch is one CUDA graph.

    Features differ from those of the module by float32 noise, by less than 1e-5 of the largest.

    Args:
        backend: of ``torch.compile``.

    Attributes:
        calls: batches that went through the compiled program.
        others: batches of other shapes, which went through the module.
        seconds: time that compiling took; None before the first batch.
    """

    def __init__(self, module: nn.Module, device: torch.device, *, backend: Any = "inductor") -> None:
        if backend == "inductor":
            require_compiler(device)
        mode = {"mode": "reduce-overhead"} if backend == "inductor" and device.type == "cuda" else {}
        self.module, self.device, self.calls, self.others = module, device, 0, 0
        self.seconds: float | None = None
        self._settings: dict[str, Any] = {"fullgraph": True, "dynamic": False, "backend": backend, **mode}
        self._graph: Callable[..., Mapping[str, Tensor]] | None = None
        self._shape: torch.Size | None = None
        self._thread: int | None = None  # of the first batch: CUDA graphs belong to it

    def __call__(self, x: Tensor, taps: tuple[str, ...]) -> dict[str, Tensor]:
        if self.device.type == "cuda" and threading.get_ident() != (self._thread or threading.get_ident()):
            raise ConfigError(
                f"a compiled network ({COMPILE}) runs on {self.device} only in the thread of its first batch; this is "
                f"another thread. Make all calls in one thread, or leave {COMPILE} out."
            )
        if self._graph is None or self._shape is None:
            return self._first(x, taps)
        if x.shape != self._shape:
            self.others += 1
            return dict(self.module(x, taps))
        return self._through(self._graph, x, taps)

    def _through(
        self, graph: Callable[..., Mapping[str, Tensor]], x: Tensor, taps: tuple[str, ...]
    ) -> dict[str, Tensor]:
        if self.device.type != "cuda":
            out = dict(graph(x, taps))
        else:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
            # copied, because the next call writes to the same place
            out = {tap: rows.clone() for tap, rows in graph(x, taps).items()}
        self.calls += 1
        return out

    def _first(self, x: Tensor, taps: tuple[str, ...]) -> dict[str, Tensor]:
        _logger.warning("compiling the network; this happens once a run and can take minutes (%s)", COMPILE)
        started = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's, about itself
                graph = torch.compile(_with_own_code(self.module), **self._settings)
                out = self._through(graph, x, taps)
        except torch.cuda.OutOfMemoryError:  # fewer images are tried by the caller
            raise
        except Exception as error:  # the compiler has errors of many kinds, not all of them RuntimeErrors
            reason = " ".join([line for line in str(error).splitlines() if line.strip()][:2]) or type(error).__name__
            raise ConfigError(
                f"this network could not be compiled: {reason[:200]} Leave {COMPILE} out, or repair the compiler."
            ) from error
        self._graph, self._shape, self._thread = graph, x.shape, threading.get_ident()
        self.seconds = time.perf_counter() - started
        _logger.warning(f"compiled in {self.seconds:.0f} s")
        return out


def _with_own_code(module: nn.Module) -> Callable[..., Mapping[str, Tensor]]:
    """The module as a function with a separate code object.

    Dynamo counts compilations by code object and stops at eight. A second network would count as another compilation of
    the first.
    """

    def run(x: Tensor, taps: tuple[str, ...]) -> Mapping[str, Tensor]:
        out: Mapping[str, Tensor] = module(x, taps)
        return out

    return types.FunctionType(run.__code__.replace(), run.__globals__, run.__name__, None, run.__closure__)
