"""The decode loop: chunks of images decoded in a thread or in worker processes, ahead of their use, in order."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch._C import _error_if_any_worker_fails, _remove_worker_pids, _set_worker_pids
from torch.utils.data import DataLoader, Dataset

from ganeval.errors import ConfigError, GanEvalError
from ganeval.images.decode import UnreadableImage, digest
from ganeval.images.mixed import MixedImages, joined
from ganeval.images.side_by_side import side_by_side
from ganeval.images.source import ImageBatch, Prepare, SourceReport
from ganeval.images.summary import add, summarised
from ganeval.torch_defaults import plain_defaults

if TYPE_CHECKING:
    from ganeval.images.indexed import Images

_SOCKET_NAME = 40  # characters of /pymp-XXXXXXXX/listener-XXXXXXXX, and a few to spare
_AHEAD = 2  # chunks that are decoded before they are asked for


@dataclass(slots=True)
class Chunk:
    """Decoded images as they travel between processes: one tensor, even where sizes differ.

    Attributes:
        indices: of the images that could be used.
        data: (N, 3, H, W), or flat where sizes differ.
        shapes: (3, H, W) of each image where sizes differ.
        digests: uint64 (N,); None for images on an accelerator.
        bad: (index, reason) of those that could not.
        notes: see ``SourceReport``.
        formats: likewise.
        labels: of the images that could be used, where their items tell it.
        pixels: see ``ganeval.images.summary``.
    """

    indices: list[int]
    data: Tensor
    shapes: list[tuple[int, ...]] | None
    digests: np.ndarray | None
    bad: list[tuple[int, str]]
    notes: Counter[str]
    formats: Counter[str] = field(default_factory=Counter)
    labels: list[str | None] = field(default_factory=list)
    pixels: Counter[str] = field(default_factory=Counter)

    def images(self) -> Tensor | MixedImages:
        return self.data if self.shapes is None else MixedImages(self.data, self.shapes)


def load_chunk(
    images: Images, indices: Sequence[int], stop: threading.Event | None = None, *, prepare: Prepare | None
) -> Chunk:
    """Decode some images; what is wrong with one of them is in the chunk, not raised."""
    good, digests, bad, notes, formats = [], [], [], Counter[str](), Counter[str]()
    decoded: list[Tensor] = []
    labels: list[str | None] = []
    summary = Counter[str]()
    for index in indices:
        if stop is not None and stop.is_set():
            break
        try:
            pixels = images.load(index)
        except UnreadableImage as error:
            bad.append((index, str(error)))
            continue
        good.append(index)
        labels.append(pixels.label)
        digests.append(digest(pixels.array))
        add(summary, summarised(pixels.array))
        notes.update(pixels.notes)
        if pixels.format is not None:
            formats[pixels.format] += 1
        decoded.append(_prepared(pixels.array, prepare))
    return Chunk(good, *_packed(decoded), np.array(digests, dtype=np.uint64), bad, notes, formats, labels, summary)


def take_chunk(images: Images, indices: Sequence[int], *, prepare: Prepare | None) -> Chunk:
    """Images on an accelerator, which stay there, without digests; only ``prepare`` brings them to the host."""
    good, bad, notes = list(indices), list[tuple[int, str]](), Counter[str]()
    try:
        data, notes = images.take(good)
    except UnreadableImage:
        taken = []
        for index in indices:  # which one is it
            try:
                one, its_notes = images.take([index])
            except UnreadableImage as error:
                bad.append((index, str(error)))
            else:
                taken.append(one)
                notes.update(its_notes)
        spoilt = {index for index, _ in bad}
        good = [index for index in indices if index not in spoilt]
        data = torch.cat(taken) if taken else torch.empty(0, dtype=torch.uint8, device="cpu")
    shapes = None
    if prepare is not None and good:
        data, shapes = _packed(side_by_side(prepare, list(data.permute(0, 2, 3, 1).cpu().numpy())))
    return Chunk(good, data, shapes, None, bad, notes)


class Regrouper:
    """Chunks of any number of images in, batches of exactly ``batch_size`` out, and one smaller batch at the end."""

    def __init__(self, batch_size: int, report: SourceReport) -> None:
        self._batch_size = batch_size
        self._report = report
        self._pieces: list[Tensor | Sequence[Tensor]] = []
        self._names: list[str] = []
        self._digests: list[np.ndarray | None] = []

    def add(
        self, images: Tensor | Sequence[Tensor], names: list[str], digests: np.ndarray | None
    ) -> Iterator[ImageBatch]:
        if not names:
            return
        if not self._names and len(names) == self._batch_size:  # nothing to regroup: no copy
            self._report.used += len(names)
            yield ImageBatch(images, names, digests)
            return
        self._pieces.append(images)
        self._names.extend(names)
        self._digests.extend([None] * len(names) if digests is None else np.split(digests, len(names)))
        while len(self._names) >= self._batch_size:
            yield self._pop(self._batch_size)

    def rest(self) -> Iterator[ImageBatch]:
        if self._names:
            yield self._pop(len(self._names))

    def _pop(self, n: int) -> ImageBatch:
        names, self._names = self._names[:n], self._names[n:]
        digests, self._digests = self._digests[:n], self._digests[n:]
        self._report.used += n
        known = [d for d in digests if d is not None]
        return ImageBatch(joined(self._taken(n)), names, np.concatenate(known) if len(known) == n else None)

    def _taken(self, n: int) -> list[Tensor | Sequence[Tensor]]:
        """The first n images, in pieces as they came."""
        taken: list[Tensor | Sequence[Tensor]] = []
        while n:
            piece = self._pieces[0]
            taken.append(piece[:n] if n < len(piece) else piece)
            self._pieces[:1] = [piece[n:]] if n < len(piece) else []
            n -= len(taken[-1])
        return taken


def in_a_thread(load: Callable[..., Chunk], parts: Sequence[Sequence[int]]) -> Generator[Chunk, None, None]:
    """Decode in one thread, ``_AHEAD`` chunks ahead; when the generator is closed, the thread ends."""
    pending: deque[Future[Chunk]] = deque()
    stop = threading.Event()
    pool = ThreadPoolExecutor(1, thread_name_prefix="ganeval-decode")
    try:
        for part in parts:
            pending.append(pool.submit(load, part, stop))
            if len(pending) > _AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def in_processes(
    load: Callable[..., Chunk], parts: Sequence[Sequence[int]], workers: int
) -> Generator[Chunk, None, None]:
    """Decode in worker processes, ``_AHEAD`` chunks ahead each; when the generator is closed, they end.

    Raises:
        ConfigError: a worker died, or could not start.
    """
    if not parts:
        return
    context = "fork" if sys.platform == "linux" else "spawn"
    with warnings.catch_warnings():
        # forking is safe here: workers run no kernels of ours, and torch gives them one thread each
        warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork.*", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        loader: DataLoader[Chunk | GanEvalError] = DataLoader(
            _Chunks(load, parts, copied=_no_room_for_sockets()),
            batch_size=None,
            num_workers=min(workers, len(parts)),
            prefetch_factor=_AHEAD,
            collate_fn=_same,
            worker_init_fn=_leave_interrupts_to_the_parent,
            multiprocessing_context=context,
            generator=torch.Generator(),  # its own, so that the global random state is not touched
        )
        try:
            # fails in one piece where there is no room; a loader that is half made would print a traceback of its own
            torch.multiprocessing.get_context(context).Queue().close()
            with plain_defaults():  # which processes that are forked here take over
                iterator: Any = iter(loader)
            _unwatch(iterator)
        except (RuntimeError, OSError) as error:  # no process, no memory or semaphore for one, or it died at once
            raise worker_failed(error) from error
    try:
        while True:
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
            yield chunk
    finally:
        shutdown = getattr(iterator, "_shutdown_workers", None)  # at once, not when the garbage is collected
        if shutdown is not None:
            shutdown()


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
    reason = (str(error).strip() or "it ended without a word").splitlines()[-1].strip().rstrip(".")
    return ConfigError(
        f"A decode worker failed: {reason}. Where workers are killed, give the machine more memory, or more shared "
        "memory (docker run --shm-size), or take fewer of them: --workers 0 (workers=0) decodes without worker "
        "processes."
    )


def _unwatch(iterator: Any) -> None:
    """Take the workers off the list by which torch's handler of SIGCHLD raises in the main thread, wherever that is."""
    if iterator._worker_pids_set:
        _remove_worker_pids(id(iterator))
        iterator._worker_pids_set = False


def _watched_next(iterator: Any) -> Any:
    """The next item; a worker that has died, or dies meanwhile, is an error here and nowhere else.

    Without the handler, a message that a worker had half written when it was killed would be waited for in vain.

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


class _Chunks(Dataset["Chunk | GanEvalError"]):
    def __init__(self, load: Callable[..., Chunk], parts: Sequence[Sequence[int]], *, copied: bool) -> None:
        self._load = load
        self._parts = parts
        self._copied = copied

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> Chunk | GanEvalError:
        try:
            chunk = self._load(self._parts[index])
        except GanEvalError as error:  # returned, because torch would wrap a traceback around its message
            return error
        if self._copied:
            chunk.data = chunk.data.numpy()  # type: ignore[assignment]
            return chunk
        # here, where running out of shared memory is an error that arrives, and not in the thread that sends
        chunk.data.share_memory_()  # type: ignore[no-untyped-call]
        return chunk


def _no_room_for_sockets() -> bool:
    """Whether the temporary folder's name is too long for sharing tensors.

    Torch hands their memory over by sockets in that folder, and a socket's name has at most 107 characters; a worker
    that cannot make one would be waited for in vain.
    """
    by_socket = torch.multiprocessing.get_sharing_strategy() == "file_descriptor"  # type: ignore[no-untyped-call]
    return by_socket and len(os.fsencode(tempfile.gettempdir())) + _SOCKET_NAME > 107


def _same(chunk: Any) -> Any:
    return chunk


def _leave_interrupts_to_the_parent(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _prepared(array: np.ndarray, prepare: Prepare | None) -> Tensor:
    if prepare is not None:
        return prepare(array)
    return torch.from_numpy(array.transpose(2, 0, 1).copy())


def _packed(images: list[Tensor]) -> tuple[Tensor, list[tuple[int, ...]] | None]:
    if not images:
        return torch.empty(0, dtype=torch.uint8, device="cpu"), None
    if all(image.shape == images[0].shape for image in images):
        return torch.stack(images), None
    return torch.cat([image.flatten() for image in images]), [tuple(image.shape) for image in images]
