"""What worker processes decode ahead is bounded in bytes, and few images are enough for all of them."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter

import numpy as np
import pytest
import torch
from torch import multiprocessing

from ganeval.images import room as rooms
from ganeval.images import workers
from ganeval.images.decode import Pixels, UnreadableImage
from ganeval.images.indexed import IndexedSource
from ganeval.images.mixed import Packing
from ganeval.images.room import LIMIT, Room, part_size, parts_of
from ganeval.images.types import Images

WORKERS = 15
IMAGE = 3 * 8 * 8  # bytes, of an image that stands for one of 1024 x 1024
SCALE = 3 * 1024 * 1024 // IMAGE


class Counted(Images):
    """Images of 8 x 8; over all processes, by whom each was decoded.

    The first ones of ``expected`` processes wait for each other, for at most 20 s: a busy machine starts some late.
    """

    kind = "test"

    def __init__(self, n: int, expected: int = 1) -> None:
        self.ignored: Counter[str] = Counter()
        self.expected = expected
        self.by = multiprocessing.get_context("fork").RawArray("q", n)

    def __len__(self) -> int:
        return len(self.by)

    def load(self, index: int) -> Pixels:
        self.by[index] = os.getpid()
        until = time.monotonic() + 20
        while len(set(self.by) - {0}) < self.expected and time.monotonic() < until:
            time.sleep(0.01)
        return Pixels(np.full((8, 8, 3), index % 256, np.uint8))


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds on bytes as much smaller as the images are."""
    monkeypatch.setattr(rooms, "LIMIT", LIMIT // SCALE)
    monkeypatch.setattr(rooms, "_PART_BYTES", rooms._PART_BYTES // SCALE)


def decoded_at_rest(images: Counted) -> int:
    """How many images are decoded once the workers do nothing more."""
    found, since = -1, time.monotonic()
    while time.monotonic() - since < 0.3:
        if (now := int(np.count_nonzero(images.by))) != found:
            found, since = now, time.monotonic()
        time.sleep(0.01)
    return found


@pytest.mark.skipif(workers.start_method() != "fork", reason="images are counted in memory that is inherited")
@pytest.mark.parametrize("most", [None, 16])
def test_at_most_512_mb_ahead_at_1024_with_15_workers(
    most: int | None, scaled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where parts were cut to hold many images, because the images before them were small."""
    if most is not None:
        monkeypatch.setattr(workers, "part_size", lambda *_: most)
    images = Counted(1200, 1 if most else WORKERS)
    chunks = IndexedSource("test", images).chunks(128, WORKERS, None)
    try:
        used = len(next(chunks).indices)
        ahead = decoded_at_rest(images) - used
        assert ahead * 3 * 1024 * 1024 <= 512e6
        assert ahead >= 2 * WORKERS - 1
        assert most is not None or len(set(images.by) - {0}) == WORKERS  # and nobody is idle
    finally:
        chunks.close()


@pytest.mark.skipif(workers.start_method() != "fork", reason="images are counted in memory that is inherited")
def test_few_images_occupy_all_workers() -> None:
    images = Counted(40, 8)
    batches = list(IndexedSource("test", images).batches(128, workers=8))
    assert [len(batch.names) for batch in batches] == [40]
    assert len(set(images.by)) == 8


def test_parts_are_cut_as_they_are_asked_for() -> None:
    sizes = iter([1, 1, 5, 16, 16, 16, 16, 16])
    found = list(parts_of(range(100, 140), 16, lambda left: next(sizes)))
    assert [number for number, _ in found] == list(range(len(found)))
    assert [len(part) for _, part in found] == [1, 1, 5, 9, 16, 8]  # none crosses a multiple of 16
    assert [index for _, part in found for index in part] == list(range(100, 140))


@pytest.mark.parametrize(
    ("side", "left", "size"),
    [
        (0, 10**4, 1),
        (32, 10**4, 16),
        (256, 10**4, 16),
        (512, 10**4, 10),
        (1024, 10**4, 2),
        (4096, 10**4, 1),
        (32, 100, 3),
    ],
)
def test_size_of_a_part(side: int, left: int, size: int) -> None:
    assert part_size(3 * side * side, left, WORKERS) == size
    assert size == 1 or (2 * WORKERS + 1) * size * 3 * side * side <= LIMIT


@pytest.mark.parametrize(("what", "got"), [("use", 40), ("want", 40), ("close", None)])
def test_what_ends_the_wait_for_room(what: str, got: int | None) -> None:
    """Room for an image is there, or its part is the one that is waited for, or nobody wants it any more."""
    room, found = Room(multiprocessing.get_context("spawn"), 100), list[int | None]()
    for _ in range(2):
        reserved = room.reserve(0)
        assert reserved is not None
        room.settle(reserved, 40)
    assert (room.ahead, room.largest) == (80, 40)
    thread = threading.Thread(target=lambda: found.append(room.reserve(3)))
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    room.want(2)
    thread.join(0.05)
    assert thread.is_alive()
    {"use": lambda: room.use(40), "want": lambda: room.want(3), "close": room.close}[what]()
    thread.join(30)
    assert found == [got]
    if got is not None:
        room.settle(got, 0)  # it could not be used
        assert room.ahead == (40 if what == "use" else 80)


def packed(images: list[np.ndarray], shared: bool) -> tuple[torch.Tensor, list[tuple[int, ...]] | None]:
    packing = Packing(len(images) + 1, shared=shared)
    for image in images:
        packing.add(image.transpose(2, 0, 1))
    return packing.packed()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_are_packed_as_they_are(shared: bool, dtype: type) -> None:
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (5, 4, 3)).astype(dtype) for _ in range(3)]
    data, shapes = packed(images, shared)
    assert shapes is None
    assert data.is_shared() == shared
    assert np.array_equal(data.numpy(), np.stack(images).transpose(0, 3, 1, 2))
    images.insert(2, generator.integers(0, 256, (2, 7, 3)).astype(dtype))
    data, shapes = packed(images, shared)
    assert shapes == [(3, 5, 4), (3, 5, 4), (3, 2, 7), (3, 5, 4)]
    assert data.is_shared() == shared
    assert data.dtype == torch.from_numpy(images[0]).dtype
    assert np.array_equal(data.numpy(), np.concatenate([image.transpose(2, 0, 1).ravel() for image in images]))
    empty, shapes = packed([], shared)
    assert (len(empty), shapes) == (0, None)


class Mixed(Images):
    kind = "test"

    def __init__(self) -> None:
        self.ignored: Counter[str] = Counter()

    def __len__(self) -> int:
        return 150

    def load(self, index: int) -> Pixels:
        if index % 11 == 7:
            raise UnreadableImage("bad luck")
        return Pixels(np.full((2 + index // 60, 2 + index % 2, 3), index, np.uint8), (f"note {index % 3}",))


def test_workers_change_nothing() -> None:
    """Parts of 1 to 16 images of several sizes, some of them left out."""
    found = []
    for processes in (0, 2):
        source = IndexedSource("test", Mixed())
        batches = list(source.batches(32, workers=processes, on_error="skip"))
        images = [image.numpy().tobytes() for batch in batches for image in batch.images]
        digests = [batch.digests.tolist() for batch in batches if batch.digests is not None]
        found.append(([batch.names for batch in batches], images, digests, source.report))
    assert found[0] == found[1]
    assert [len(names) for names in found[0][0]] == [32, 32, 32, 32, 9]
