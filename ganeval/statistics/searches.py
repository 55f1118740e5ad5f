"""The float32 search behind every neighbour: faiss or PyTorch, tiles, an accelerator; each rank takes its share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from ganeval.arithmetic import first_line, unsupported_errors, warn_fallback, warn_host_fallback
from ganeval.statistics.tiles import within
from ganeval.statistics.tiles_torch import SEARCHES, accelerates, nearest_torch


class ProcessGroup(Protocol):
    """The processes that share the search, such as ``ganeval.distributed.Group``."""

    @property
    def size(self) -> int: ...

    def share(self, n: int) -> slice: ...

    def gather(self, array: np.ndarray, call: str) -> list[np.ndarray]: ...

    def sums(self, arrays: Sequence[np.ndarray], call: str) -> list[np.ndarray]: ...


def search(
    z: np.ndarray,
    queries: np.ndarray | None,
    width: int,
    device: torch.device | None = None,
    group: ProcessGroup | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The ``width`` nearest lifted rows, in float32, of every query, or of every row among the others."""
    if group is None or group.size == 1:
        return _here(z, queries, width, device)
    asked = z if queries is None else queries
    rows = np.arange(len(asked))[group.share(len(asked))]
    found, ids = search_some(z, asked, rows, width, queries is None, device)
    found, ids = (np.concatenate(group.gather(part, "neighbours")) for part in (found, ids))
    return found, ids


def _here(
    z: np.ndarray, queries: np.ndarray | None, width: int, device: torch.device | None
) -> tuple[np.ndarray, np.ndarray]:
    if queries is not None and not len(queries):
        return np.empty((0, width), np.float32), np.empty((0, width), np.int64)
    if accelerates(device):
        try:
            return nearest_torch(z, queries, width, device)
        except unsupported_errors(device) as error:
            warn_host_fallback(SEARCHES, error)
    if queries is None:
        return within(z, width)
    try:
        import faiss  # slow to import
    except (ImportError, OSError) as error:  # there are machines without a wheel of it
        warn_fallback(f"neighbours are searched by PyTorch, since faiss does not import: {first_line(error)}")
        return nearest_torch(z, queries, width, torch.device("cpu"))
    d = z.shape[1] - 2
    index = faiss.IndexFlatL2(d)
    index.add(np.ascontiguousarray(z[:, :d]))
    distances, ids = index.search(np.ascontiguousarray(queries[:, :d]), width)
    return distances, ids


def search_some(
    z: np.ndarray, queries: np.ndarray, rows: np.ndarray, width: int, own: bool, device: torch.device | None
) -> tuple[np.ndarray, np.ndarray]:
    """The same for some queries; ``own``: each is the row of that number, and not its own neighbour."""
    found, ids = _here(z, queries[rows], width + int(own), device)
    if not own:
        return found, ids
    mine = ids == rows[:, None]
    mine[~mine.any(axis=1), -1] = True  # among more copies than were found: any other is as good
    keep = ~mine
    return found[keep].reshape(len(rows), width), ids[keep].reshape(len(rows), width)
