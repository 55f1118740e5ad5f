"""The arithmetic of PyTorch: global settings that a surrounding program makes, and that must not reach a number.

Each is a context: inside, the settings are what a computation needs; afterwards they are as they were.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TypeVar

import torch

T = TypeVar("T")


@contextmanager
def strict_float32(*, tf32: bool = False) -> Iterator[None]:
    """Inside, float32 matrix products and convolutions use neither TF32 nor bfloat16, on CUDA and on the CPU.

    Afterwards every setting is what it was, whether it was made through ``allow_tf32``,
    ``torch.set_float32_matmul_precision`` or the ``fp32_precision`` attributes. The settings are global: another
    thread that computes meanwhile computes strictly too.

    Args:
        tf32: on CUDA, TF32 wherever there is float32.
    """
    _hear_the_warning_out()
    with _precisions(tf32):
        yield


@functools.lru_cache
def _hear_the_warning_out() -> None:
    """PyTorch 2.9 and 2.10 warn once a process of the older names, which are used here on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _precisions(tf32=False):
            pass


@contextmanager
def _precisions(tf32: bool) -> Iterator[None]:
    backends = torch.backends
    # PyTorch has two interfaces to one state and raises where they disagree: its kernels look at either, so both are
    # set, and what cannot be read because the user's own settings disagree is reached through the newer one alone.
    on_cuda = [backends.cuda.matmul, getattr(backends.cudnn, "conv", None), getattr(backends.cudnn, "rnn", None)]
    on_cpu = [getattr(backends.mkldnn, "matmul", None), getattr(backends.mkldnn, "conv", None)]
    places = [place for place in (*on_cuda, *on_cpu) if hasattr(place, "fp32_precision")]
    precisions = [place.fp32_precision for place in places]  # type: ignore[union-attr]
    matmul = _read(torch.get_float32_matmul_precision)
    cudnn = _read(lambda: backends.cudnn.allow_tf32)
    try:
        if matmul is not None:
            torch.set_float32_matmul_precision("high" if tf32 else "highest")
        if cudnn is not None:
            backends.cudnn.allow_tf32 = tf32
        for place in places:
            place.fp32_precision = "tf32" if tf32 and place in on_cuda else "ieee"  # type: ignore[union-attr]
        yield
    finally:
        if matmul is not None:
            torch.set_float32_matmul_precision(matmul)
        if cudnn is not None:
            backends.cudnn.allow_tf32 = cudnn
        for place, precision in zip(places, precisions, strict=True):
            place.fp32_precision = precision  # type: ignore[union-attr]


@contextmanager
def cudnn_by_rule(*, deterministic: bool = False) -> Iterator[None]:
    """Inside, cuDNN is on and takes its kernels by rule and not by a timing, whatever ``cudnn.benchmark`` is.

    A timing costs seconds for every new shape of a batch, and lets chance choose the last digits.

    Args:
        deterministic: it takes only kernels that repeat bit by bit.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.enabled, cudnn.benchmark, cudnn.deterministic
    try:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = True, False, deterministic
        yield
    finally:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = before


@contextmanager
def own_kernels() -> Iterator[None]:
    """``cudnn_by_rule``, and no operation is refused as nondeterministic.

    A training program sets ``torch.use_deterministic_algorithms`` for its own sake. Here it would refuse products and
    sums that need no order.
    """
    strict, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    with cudnn_by_rule():
        try:
            if strict:
                torch.use_deterministic_algorithms(False)
            yield
        finally:
            if strict:
                torch.use_deterministic_algorithms(True, warn_only=warns)


def no_autocast(device: torch.device) -> AbstractContextManager[None]:
    """Inside, what runs on ``device`` keeps its type, whatever autocast surrounds it."""
    if not torch.amp.is_autocast_available(device.type):  # a device that has none cannot be in one
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def _read(getter: Callable[[], T]) -> T | None:
    try:
        return getter()
    except RuntimeError:
        return None


@contextmanager
def plain_defaults() -> Iterator[None]:
    """Inside, new tensors are float32 on the CPU unless they say otherwise; afterwards the defaults are as before.

    A program may have called ``torch.set_default_dtype`` or ``torch.set_default_device``, or be inside
    ``with torch.device(...)``. Networks of this package are built and run under plain defaults; code of the user runs
    under the user's.
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":  # entered only then, since it slows every operation down
            stack.enter_context(torch.device("cpu"))
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        yield
