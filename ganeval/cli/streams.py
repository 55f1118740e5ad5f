"""Standard streams that are closed, or whose reader has gone: what is written there is dropped, and the run goes on.

A program that nobody listens to still measures, writes its files and ends with the exit code of what it found.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import BinaryIO, TextIO

from ganeval.errors import GanEvalError

_NO_READER = (errno.EPIPE, errno.EBADF, errno.ESHUTDOWN, errno.ECONNRESET)
_NAMES = ("stdin", "stdout", "stderr")


class OutputError(GanEvalError):
    """A result that is there and could not be written."""

    kind = "output"


def open_descriptors() -> None:
    """Open the descriptors 0 to 2 that were closed at the start, so that no other file gets their numbers."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


@contextlib.contextmanager
def closed_ones_are_silent() -> Iterator[None]:
    """Inside, every standard stream can be written to."""
    before = {name: getattr(sys, name) for name in _NAMES}
    for name, stream in before.items():
        if stream is None or stream.closed:  # closed before the program began: `>&-`
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - as long as the process
        elif name != "stdin":
            setattr(sys, name, Listened(stream, _NO_READER if name == "stdout" else None))
    try:
        yield
    finally:
        for name in _NAMES:
            stream = getattr(sys, name)
            if isinstance(stream, Listened):
                with contextlib.suppress(OutputError):  # told already, by what was written there
                    stream.flush()
            if before[name] is not None and not before[name].closed:
                setattr(sys, name, before[name])


@contextlib.contextmanager
def only_answers() -> Iterator[None]:
    """Inside, what is printed to stdout goes to stderr, whoever prints it, but for ``answering``."""
    with _set_answering(False):
        yield


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Inside, stdout takes the answer of the command."""
    with _set_answering(True):
        yield


@contextlib.contextmanager
def _set_answering(value: bool) -> Iterator[None]:
    before, Listened.answers = Listened.answers, value
    try:
        yield
    finally:
        Listened.answers = before


class Listened(io.TextIOBase):
    """A text stream that drops what is written once that fails in a way that is no fault of the run.

    Args:
        silent: numbers of these errors; None for all. Another one, such as that of a full disk, is an ``OutputError``.
    """

    answers = True  # of all of them: whether stdout is open, or what is written there goes to stderr

    def __init__(self, stream: TextIO, silent: tuple[int, ...] | None) -> None:
        self._stream, self._silent = stream, silent

    def write(self, text: str) -> int:
        if text == "":  # click tries with it what kind of stream this is, and would swallow the error of a full disk
            return 0
        if self._silent is not None and not self.answers and sys.stderr is not self:
            return sys.stderr.write(text)
        with self._or_silence():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._or_silence():
            self._stream.flush()

    @contextlib.contextmanager
    def _or_silence(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._silence()
            if self._silent is not None and error.errno not in self._silent:
                reason = error.strerror or str(error)
                raise OutputError(f"cannot write to stdout: {reason}. Send the output to another place.") from error

    def _silence(self) -> None:
        """Let the file descriptor lead nowhere: nothing fails on it later, not even at the interpreter's end."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self._stream.errors

    @property
    def buffer(self) -> BinaryIO:
        return self._stream.buffer

    def close(self) -> None:
        """It is not ours to close."""
