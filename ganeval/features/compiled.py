"""A network as one compiled program: ``--compile``.

Kernels are made for the batches of one shape, the first that comes; other shapes (the last, smaller batch) go through
the network as it is, because making kernels for them would cost more than they bring.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from ganeval.errors import ConfigError

_logger = logging.getLogger("ganeval")


def require_compiler(device: torch.device) -> None:
    """Raises ConfigError where nothing can be compiled: no C++ compiler for the CPU, no Triton for CUDA."""
    if device.type == "cpu":
        compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
        if shutil.which(compiler) is None:
            raise ConfigError(f"--compile needs a C++ compiler, and there is no {compiler}: install one, or set CXX.")
    elif device.type == "cuda":
        if find_spec("triton") is None:
            raise ConfigError("--compile needs Triton on CUDA: install it, or leave --compile out.")
    else:
        raise ConfigError(f"--compile knows the CPU and CUDA, not {device}. Leave it out.")


class Compiled:
    """``module(x, taps)``, compiled: weights as constants on the CPU, one CUDA graph a batch on CUDA.

    Features differ from those of the module by float32 noise, by less than 1e-5 of the largest.

    Args:
        backend: of ``torch.compile``.

    Attributes:
        calls: batches that went through the compiled program.
        seconds: what compiling took; None before the first batch.
    """

    def __init__(self, module: nn.Module, device: torch.device, *, backend: Any = "inductor") -> None:
        if backend == "inductor":
            require_compiler(device)
        how: dict[str, Any] = {}
        if backend == "inductor":
            how = {"options": {"freezing": True}} if device.type == "cpu" else {"mode": "reduce-overhead"}
        self.module, self.device, self.calls = module, device, 0
        self.seconds: float | None = None
        self._graph: Callable[..., Mapping[str, Tensor]] = torch.compile(
            module, fullgraph=True, dynamic=False, backend=backend, **how
        )
        self._shape: torch.Size | None = None

    def __call__(self, x: Tensor, taps: tuple[str, ...]) -> dict[str, Tensor]:
        if self._shape is None:
            return self._first(x, taps)
        if x.shape != self._shape:
            return dict(self.module(x, taps))
        self.calls += 1
        if self.device.type != "cuda":
            return dict(self._graph(x, taps))
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        # copied, because the next call writes to the same place
        return {tap: rows.clone() for tap, rows in self._graph(x, taps).items()}

    def _first(self, x: Tensor, taps: tuple[str, ...]) -> dict[str, Tensor]:
        _logger.warning("compiling the network, which is done once a run and can take minutes (--compile)")
        started = time.perf_counter()
        self._shape = x.shape
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's, about itself
                out = self(x, taps)
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
            raise ConfigError(
                f"this network could not be compiled: {lines[0][:200]} Leave --compile out, or repair the compiler."
            ) from error
        self.seconds = time.perf_counter() - started
        _logger.warning(f"compiled in {self.seconds:.0f} s")
        return out
