"""Decode in worker processes: parts of the images, in order, before they are used, within a memory limit."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch._C import _error_if_any_worker_fails, _remove_worker_pids, _set_worker_pids
from torch.utils.data import DataLoader, Dataset

from ganeval.arithmetic import plain_defaults
from ganeval.errors import ConfigError, GanEvalError
from ganeval.images.loading import Chunk
from ganeval.images.room import Room, Turn, part_size, parts_of

_SOCKET_NAME = 40  # characters of /pymp-XXXXXXXX/listener-XXXXXXXX, and a few to spare
_AHEAD = 2  # parts that each worker is given before the first of them is asked for


def start_method() -> str:
    """How worker processes start: as the program has set it, else by fork on Linux and by spawn elsewhere.

    A program that sets ``spawn`` has a reason, such as threads that do not survive a fork.
    """
    chosen: str | None = torch.multiprocessing.get_start_method(allow_none=True)
    return chosen or ("fork" if sys.platform == "linux" else "spawn")


def in_processes(
    load: Callable[..., Chunk], indices: Sequence[int], workers: int, *, unit: int
) -> Generator[Chunk, None, None]:
    """Decode in worker processes, within the memory of ``Room``; when the generator is closed, they end.

    Args:
        unit: no chunk crosses a multiple of it.

    Raises:
        ConfigError: a worker died, or could not start.
    """
    if not len(indices):
        return
    iterator, room = _started(load, indices, min(workers, len(indices)), unit)
    number = 0
    try:
        while True:
            room.want(number)
            try:
                chunk = _watched_next(iterator)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:  # which one depends on when the worker died
                raise worker_failed(error) from error
            if isinstance(chunk, GanEvalError):
                raise chunk
            if isinstance(chunk.data, np.ndarray):
                chunk.data = torch.from_numpy(chunk.data)
            size = chunk.data.nbytes
            yield chunk
            del chunk
            room.use(size)
            number += 1
    finally:
        room.close()
        shutdown = getattr(iterator, "_shutdown_workers", None)  # at once, not when the garbage is collected
        if shutdown is not None:
            shutdown()


def _started(load: Callable[..., Chunk], indices: Sequence[int], workers: int, unit: int) -> tuple[Any, Room]:
    """An iterator over the chunks, whose workers run, and the room that they share."""
    method = start_method()
    context = torch.multiprocessing.get_context(method)
    with warnings.catch_warnings():
        # forking is safe here: workers run no kernels of ours, and torch gives them one thread each
        warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        try:
            room = Room(context)
            loader: DataLoader[Chunk | GanEvalError] = DataLoader(
                _Parts(load, room, copied=_no_room_for_sockets()),
                sampler=parts_of(indices, unit, lambda left: part_size(room.largest, left, workers)),
                batch_size=None,
                num_workers=workers,
                prefetch_factor=_AHEAD,
                collate_fn=_same,
                worker_init_fn=_leave_interrupts_to_the_parent,
                multiprocessing_context=method,
                generator=torch.Generator(),  # its own, so that the global random state is not touched
            )
            # fails in one piece where there is no room; a loader that is half made would print a traceback of its own
            context.Queue().close()
            with plain_defaults():  # which processes that are forked here take over
                iterator: Any = iter(loader)
            _unwatch(iterator)
        except (RuntimeError, OSError) as error:  # no process, no memory or semaphore for one, or it died at once
            raise worker_failed(error) from error
    return iterator, room


@contextlib.contextmanager
def worker_faults() -> Iterator[None]:
    """Inside, the death of a decode worker is a ConfigError wherever it is noticed.

    Torch notices it by a signal, whose handler raises in the main thread in the middle of whatever runs there.

    Raises:
        ConfigError: a worker died.
    """
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
        raise worker_failed(error) from error


def worker_failed(error: BaseException) -> ConfigError:
    """The error for a worker that died, or whose images could not be handed over."""
    reason = (str(error).strip() or "it ended without a message").splitlines()[-1].strip().rstrip(".")
    again = (
        ""
        if start_method() == "fork"
        else 'A script is run again in each worker here: its code belongs under if __name__ == "__main__". '
    )
    return ConfigError(
        f"A decode worker failed: {reason}. {again}Where workers are killed, give the machine more memory, or more "
        "shared memory (docker run --shm-size), or take fewer of them: --workers 0 (workers=0) decodes without worker "
        "processes."
    )


def _unwatch(iterator: Any) -> None:
    """Take the workers off the list by which torch's handler of SIGCHLD raises in the main thread, wherever that is."""
    if iterator._worker_pids_set:
        _remove_worker_pids(id(iterator))
        iterator._worker_pids_set = False


def _watched_next(iterator: Any) -> Any:
    """The next item; a worker that has died, or dies meanwhile, is an error here and nowhere else.

    Without the handler, a message that a worker had half written when it was killed would be waited for forever.

    Raises:
        RuntimeError: a worker was killed.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone is interrupted by signals
        return next(iterator)
    _set_worker_pids(id(iterator), tuple(worker.pid for worker in iterator._workers))
    try:
        _error_if_any_worker_fails()
        return next(iterator)
    finally:
        _remove_worker_pids(id(iterator))


class _Parts(Dataset["Chunk | GanEvalError"]):
    def __init__(self, load: Callable[..., Chunk], room: Room, *, copied: bool) -> None:
        self._load = load
        self._room = room
        self._copied = copied

    def __getitem__(self, part: tuple[int, Sequence[int]]) -> Chunk | GanEvalError:
        number, indices = part
        try:
            chunk = self._load(indices, turn=Turn(self._room, number), shared=not self._copied)
        except GanEvalError as error:  # returned, because torch would wrap a traceback around its message
            return error
        if self._copied:
            chunk.data = chunk.data.numpy()  # type: ignore[assignment]
        return chunk


def _no_room_for_sockets() -> bool:
    """Whether the temporary folder's name is too long for sharing tensors.

    Torch hands their memory over by sockets in that folder, and a socket's name has at most 107 characters; a worker
    that cannot make one would be waited for forever.
    """
    by_socket = torch.multiprocessing.get_sharing_strategy() == "file_descriptor"  # type: ignore[no-untyped-call]
    return by_socket and len(os.fsencode(tempfile.gettempdir())) + _SOCKET_NAME > 107


def _same(chunk: Any) -> Any:
    return chunk


def _leave_interrupts_to_the_parent(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
