"""The arithmetic of PyTorch: in which precision a computation runs, and what it does where a device cannot.

Global settings that a surrounding program makes must not reach a number. Each context here sets what a computation
needs, and restores the settings afterwards.
"""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TypeVar

import torch

T = TypeVar("T")

HALF: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
_logger = logging.getLogger("ganeval")
_fallbacks: ContextVar[dict[str, None] | None] = ContextVar("ganeval_fallbacks", default=None)


@contextmanager
def inference(precision: str, device: torch.device) -> Iterator[None]:
    """Inference in the named precision: inside, no gradients, and no other TF32 or autocast than that asks for."""
    half = HALF.get(precision)
    autocast = no_autocast(device) if half is None else torch.autocast(device.type, half)
    with strict_float32(tf32=precision == "tf32"), own_kernels(), torch.inference_mode(), autocast:
        yield


def exact_float32(device: torch.device) -> AbstractContextManager[None]:
    """Float32 products and sums as they are written: inside, neither TF32 nor autocast nor gradients."""
    return inference("float32", device)


@contextmanager
def strict_float32(*, tf32: bool = False) -> Iterator[None]:
    """Inside, float32 matrix products and convolutions use neither TF32 nor bfloat16, on CUDA and on the CPU.

    Afterwards every setting is what it was, whether it was made through ``allow_tf32``,
    ``torch.set_float32_matmul_precision`` or the ``fp32_precision`` attributes. The settings are global: another
    thread that computes at the same time is strict too.

    Args:
        tf32: on CUDA, TF32 wherever there is float32.
    """
    _silence_deprecation()
    with _precisions(tf32):
        yield


@functools.lru_cache
def _silence_deprecation() -> None:
    """Consume the one warning by PyTorch 2.9 and 2.10 about the older names, which are used here on purpose."""
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
    """Inside, cuDNN is on and chooses its kernels by rule, not by timing, for any ``cudnn.benchmark``.

    Timing costs seconds for every new shape of a batch, and makes the last digits depend on chance.

    Args:
        deterministic: use only kernels that repeat bit by bit.
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

    A training program may set ``torch.use_deterministic_algorithms``. Here that would refuse products and sums
    whose order does not matter.
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
    """Inside, operations on ``device`` keep their type under any surrounding autocast."""
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
    """Inside, new tensors are float32 on the CPU by default; afterwards the defaults are as before.

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


# --- what a device cannot compute ------------------------------------------------------------------------------------


def unsupported_errors(device: torch.device) -> tuple[type[Exception], ...]:
    """Errors by which a device says that it cannot do a piece of work, which the host can then do in its place.

    On CUDA that is a full memory. Other devices lack float64 (Apple's, some of Intel's) or single operators, and have
    no specific type of error for that.
    """
    return (torch.cuda.OutOfMemoryError,) if device.type in ("cpu", "cuda") else (RuntimeError, TypeError)


@functools.lru_cache
def widest_float(device: torch.device) -> torch.dtype:
    """float64, or float32 on a device that has no float64."""
    try:
        torch.zeros(1, dtype=torch.float64, device=device)
    except unsupported_errors(device):
        return torch.float32
    return torch.float64


def warn_host_fallback(what: str, error: BaseException) -> str:
    """Log, once a run, that ``what`` is computed on the host because a device refused it; returns the sentence."""
    return warn_fallback(f"{what} on the host: {first_line(error).split('. ')[0]}")


def first_line(error: BaseException) -> str:
    """The first line of an error's message; its type if it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def warn_fallback(text: str) -> str:
    """Log, once a run, that something is computed in another way than usual; returns the sentence."""
    known = _fallbacks.get()
    if known is None or text not in known:
        _logger.warning("%s", text)
    if known is not None:
        known[text] = None
    return text


@contextmanager
def collect_host_fallbacks() -> Iterator[dict[str, None]]:
    """Collect the sentences of ``warn_fallback`` inside, as keys, for the warnings of a result."""
    known: dict[str, None] = {}
    token = _fallbacks.set(known)
    try:
        yield known
    finally:
        _fallbacks.reset(token)
