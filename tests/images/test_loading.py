"""The decode loop: the same images whatever the batch size and the workers; nothing left behind; bad luck named."""

from __future__ import annotations

import errno
import functools
import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, multiprocessing
from torch.utils.data import Dataset

from ganeval.distributed import ONE
from ganeval.engine.config import EvaluationConfig
from ganeval.engine.runtime import Runtime
from ganeval.errors import ConfigError, InputError
from ganeval.images import loading
from ganeval.images.decode import Pixels, UnreadableImage
from ganeval.images.indexed import IndexedSource, PerProcess
from ganeval.images.open import open_images
from ganeval.images.types import Images, ImageSource
from ganeval.images.workers import start_method, worker_failed

N = 11


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for i in range(N):
        array = rng.integers(0, 256, (6 + i % 2, 5, 3), dtype=np.uint8)
        Image.fromarray(array).save(tmp_path / f"{i:02d}.png")
    Image.new("L", (5, 6)).save(tmp_path / "99.png")
    return tmp_path


def threads() -> list[str]:
    """Those of a pass; the pool that resizes images is shared, and stays."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("ganeval") and not name.startswith("ganeval-images")]


def drawn(source: ImageSource, batch_size: int, workers: int) -> list[tuple[str, int, bytes]]:
    found = []
    for batch in source.batches(batch_size, workers=workers):
        assert batch.digests is not None
        assert len(batch.names) == len(batch.digests) == len(batch.images)
        for name, key, image in zip(batch.names, batch.digests, batch.images, strict=True):
            found.append((name, int(key), image.numpy().tobytes()))
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_images_do_not_depend_on_batch_size_or_workers_batch(folder: Path, workers: int) -> None:
    source = open_images(folder)
    expected = drawn(source, N + 1, 0)
    assert [name for name, *_ in expected] == [f"{i:02d}.png" for i in [*range(N), 99]]
    for batch_size in (1, 4, N + 1, 100):
        assert drawn(source, batch_size, workers) == expected
        assert source.report.used == N + 1
        assert source.report.notes == {"grey replicated to three channels": 1}
    sizes = [len(batch.names) for batch in source.batches(5, workers=workers)]
    assert sizes == [5, 5, 2]


def double(array: np.ndarray, factor: float) -> Tensor:
    assert array.dtype == np.uint8
    return torch.from_numpy(array[:4, :4].transpose(2, 0, 1) * np.float32(factor))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere tensors are shared in another way")
@pytest.mark.nightly
def test_workers_where_the_temporary_folder_has_a_long_name(folder: Path, tmp_path: Path) -> None:
    """Torch shares memory through sockets in that folder; past 107 characters a worker would be waited for in vain."""
    long = tmp_path / "t" / ("n" * 120)
    long.mkdir(parents=True)
    code = (
        "import sys, torch; from ganeval.images.open import open_images\n"
        "print([int(b.images[0].sum()) for b in open_images(sys.argv[1]).batches(4, workers=2)])"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code, str(folder)], env={**os.environ, "TMPDIR": place}, capture_output=True,
            text=True, check=True, timeout=120,
        )
        for place in (str(long), "/tmp")
    ]  # fmt: skip
    assert found[0].stdout == found[1].stdout
    assert found[0].stderr == ""


@pytest.mark.parametrize("workers", [0, 2])
def test_prepare_runs_where_images_are_decoded(folder: Path, workers: int) -> None:
    plain = next(iter(open_images(folder).batches(N + 1)))
    (batch,) = open_images(folder).batches(N + 1, workers=workers, prepare=functools.partial(double, factor=2.5))
    assert isinstance(batch.images, Tensor)
    assert batch.images.dtype == torch.float32
    for image, raw in zip(batch.images, plain.images, strict=True):
        assert torch.equal(image, raw[:, :4, :4] * 2.5)
    np.testing.assert_array_equal(batch.digests, plain.digests)  # of the pixels, not of what was made of them


@pytest.mark.parametrize("workers", [0, 2])
def test_closing_early_ends_threads_and_processes(folder: Path, workers: int) -> None:
    before = set(threading.enumerate())
    batches = open_images(folder).batches(2, workers=workers)
    next(batches)
    assert workers == 0 or multiprocessing.active_children()
    batches.close()  # type: ignore[attr-defined]
    assert not threads()
    assert not multiprocessing.active_children()
    for thread in set(threading.enumerate()) - before:  # of torch's queues, which end a moment later
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_in_the_loop_ends_threads_and_processes(folder: Path, workers: int) -> None:
    def loop() -> None:
        for _ in open_images(folder).batches(2, workers=workers):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert not threads()
    assert not multiprocessing.active_children()


def test_an_iterator_that_was_never_started_leaves_nothing(folder: Path) -> None:
    open_images(folder).batches(2)
    assert not threads()


class Counting(Images):
    """Tells which images were decoded, and by which thread."""

    kind = "test"

    def __init__(self, n: int) -> None:
        self.ignored: Counter[str] = Counter()
        self.n = n
        self.loaded: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return self.n

    def load(self, index: int) -> Pixels:
        self.loaded.append((index, threading.current_thread().name))
        return Pixels(np.full((2, 2, 3), index % 256, np.uint8))


def test_decoding_runs_ahead_in_one_thread_but_not_far() -> None:
    images = Counting(1000)
    batches = IndexedSource("test", images).batches(10)
    for drawn_so_far in range(1, 20):
        next(batches)
        assert 10 * drawn_so_far <= len(images.loaded) <= 10 * (drawn_so_far + 2)
    batches.close()  # type: ignore[attr-defined]
    assert len({name for _, name in images.loaded} - {"MainThread"}) == 1
    assert [index for index, _ in images.loaded] == list(range(len(images.loaded)))


class Spoilt(Counting):
    def load(self, index: int) -> Pixels:
        if index % 3 == 1:
            raise UnreadableImage("bad luck")
        return super().load(index)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_full_although_images_are_skipped(workers: int) -> None:
    source = IndexedSource("test", Spoilt(20))
    batches = list(source.batches(4, workers=workers, on_error="skip"))
    assert [len(batch.names) for batch in batches] == [4, 4, 4, 1]
    good = [i for i in range(20) if i % 3 != 1]
    assert [name for batch in batches for name in batch.names] == [f"#{i}" for i in good]
    assert [int(image[0, 0, 0]) for batch in batches for image in batch.images] == good
    assert source.report.skipped == [(f"#{i}", "bad luck") for i in range(1, 20, 3)]
    assert all(batch.digests is not None and len(batch.digests) == len(batch.names) for batch in batches)


def test_everything_skipped_is_no_batch() -> None:
    source = IndexedSource("test", Spoilt(20)).part([1, 4])
    assert list(source.batches(4, on_error="skip")) == []
    assert source.report.used == 0


class Fatal(Counting):
    def load(self, index: int) -> Pixels:
        if index == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().load(index)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_worker_that_dies_iv() -> None:
    with pytest.raises(ConfigError, match="A decode worker failed: .*--workers 0"):
        list(IndexedSource("test", Fatal(10)).batches(2, workers=2))
    assert not multiprocessing.active_children()


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_worker_that_dies_while_the_network_runs_iv() -> None:
    """Torch's handler of SIGCHLD raised in whatever the main thread was at; now the next image is what fails."""
    batches = iter(IndexedSource("test", Counting(400)).batches(2, workers=2))
    next(batches)
    for child in multiprocessing.active_children():
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
    time.sleep(0.5)  # stands for the network: nothing may be raised here
    with pytest.raises(ConfigError, match="A decode worker failed: .*shared memory.*--workers 0"):
        list(batches)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EAGAIN])
def test_workers_that_cannot_start_iv(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full /dev/shm has no room for a semaphore; a container may forbid another process."""

    def refused(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter", refused)
    with pytest.raises(ConfigError, match=f"A decode worker failed: .*{os.strerror(code)}.*--workers 0"):
        list(IndexedSource("test", Counting(10)).batches(2, workers=2))


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_users_own_loader_still_notices_its_workers(folder: Path) -> None:
    """What torch does for loaders of the surrounding program is as it was."""
    list(open_images(str(folder)).batches(4, workers=2))
    iterator = iter(torch.utils.data.DataLoader(range(1000), num_workers=1, batch_size=1))  # type: ignore[arg-type]
    next(iterator)
    os.kill(iterator._workers[0].pid, signal.SIGSTOP)  # type: ignore[attr-defined]
    threading.Timer(0.5, os.kill, (iterator._workers[0].pid, signal.SIGKILL)).start()  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="is killed by signal"):
        time.sleep(60)  # ended by the signal


class Refusing(Counting):
    def load(self, index: int) -> Pixels:
        raise InputError("one clear message")


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_arrive_as_they_were(workers: int) -> None:
    with pytest.raises(InputError, match="^one clear message$"):
        list(IndexedSource("test", Refusing(10)).batches(2, workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_global_random_state_is_not_touched(folder: Path, workers: int) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    list(open_images(folder, num=5, seed=1).batches(2, workers=workers))
    assert torch.equal(torch.get_rng_state(), state)


def test_two_iterators_over_one_source(folder: Path) -> None:
    source = open_images(folder)
    for one, other in zip(source.batches(3), source.batches(3), strict=True):
        assert one.names == other.names


def test_per_process_opens_once_in_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    held = PerProcess(lambda: opened.append(1) or len(opened))
    assert (held.get(), held.get()) == (1, 1)
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as after a fork
    assert held.get() == 2


@pytest.fixture
def spawn() -> Iterator[None]:
    """A program that has chosen how its processes start."""
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.mark.usefixtures("spawn")
def test_workers_start_as_the_program_has_set_it(folder: Path) -> None:
    source = open_images(folder)
    expected = drawn(source, 4, 0)
    batches = source.batches(4, workers=2)
    first = next(iter(batches))
    assert {type(child).__name__ for child in multiprocessing.active_children()} == {"SpawnProcess"}
    batches.close()  # type: ignore[attr-defined]
    assert list(first.names) == [name for name, *_ in expected[:4]]
    assert drawn(source, 4, 2) == expected


def test_the_error_of_a_spawned_worker_names_the_main_guard(spawn: None) -> None:
    assert 'under if __name__ == "__main__"' in str(worker_failed(RuntimeError("ended")))
    multiprocessing.set_start_method("fork", force=True)
    assert "__main__" not in str(worker_failed(RuntimeError("ended")))


@pytest.mark.usefixtures("spawn")
def test_no_worker_is_spawned_unless_asked(folder: Path) -> None:
    """A script without a main guard would be run again in it."""
    runtime = Runtime(ONE, torch.device("cuda"), None, ExitStack())
    assert runtime.workers(open_images(folder), EvaluationConfig()) == 0
    multiprocessing.set_start_method("fork", force=True)
    assert runtime.workers(open_images(folder), EvaluationConfig()) > 0


def test_what_workers_are_given_can_be_pickled(folder: Path) -> None:
    images = pickle.loads(pickle.dumps(open_images(folder))).images
    load = functools.partial(loading.load_chunk, images, prepare=functools.partial(double, factor=1.0))
    chunk = pickle.loads(pickle.dumps(load))([0, 1])
    assert chunk.data.shape == (2, 3, 4, 4)


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 1, "workers": -1}])
def test_batches_iv(folder: Path, options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least 1 image and 0 workers"):
        open_images(folder).batches(**options)


def test_on_error_iv(folder: Path) -> None:
    with pytest.raises(InputError, match="'stop' or 'skip'; got 'ignore'"):
        open_images(folder).batches(2, on_error="ignore")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert not threads()
    assert not multiprocessing.active_children()


class OneFile(Dataset[np.ndarray]):
    """Images in one file that is open from the start, as data sets on HDF5 or LMDB have it."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._file = file

    def __len__(self) -> int:
        return 100

    def __getitem__(self, index: int) -> np.ndarray:
        self._file.seek(index * 12)
        time.sleep(1e-4)
        return np.frombuffer(self._file.read(12), np.uint8).reshape(2, 2, 3)


@pytest.mark.skipif(start_method() != "fork", reason="processes are the default only where they are forked")
@pytest.mark.parametrize("through", ["evaluate", "statistics"])
def test_a_users_dataset_is_not_forked_unless_asked(
    through: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an accelerator too: processes would share the file's position and read each other's images."""
    from ganeval import build_statistics, evaluate
    from ganeval.images import indexed

    pixels = np.random.default_rng(0).integers(0, 256, (100, 2, 2, 3), dtype=np.uint8)
    (tmp_path / "images").write_bytes(pixels.tobytes())
    started: list[int] = []
    real = indexed.in_processes
    monkeypatch.setattr(indexed, "in_processes", lambda *a, **k: started.append(a[2]) or real(*a, **k))
    here = Runtime.workers  # as on a machine with an accelerator
    cuda = torch.device("cuda")
    monkeypatch.setattr(Runtime, "workers", lambda self, *given: here(replace(self, device=cuda), *given))
    options = {"protocol": "compact", "batch_size": 16, "cache": False}
    with (tmp_path / "images").open("rb", buffering=0) as file:
        if through == "evaluate":
            found = evaluate(OneFile(file), pixels, **options).real["digest"]
            expected = evaluate(pixels, pixels, **options).real["digest"]
        else:
            found = build_statistics(OneFile(file), **options).digest
            expected = build_statistics(pixels, **options).digest
    assert found == expected
    assert started == []
    np.save(tmp_path / "file.npy", pixels)
    evaluate(str(tmp_path / "file.npy"), pixels[:20], **options)  # a file is opened again in each process
    assert len(started) == 1


def test_arrays_in_memory_cost_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """An update of a tensor took 0.2 s more where a process was started for it."""
    from ganeval import Evaluator
    from ganeval.images import indexed

    def none(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(indexed, "in_processes", none)
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8)
    with Evaluator(images, protocol="compact", workers=2, batch_size=8, cache=False) as evaluator:
        evaluator.update(images)
        evaluator.update(images.permute(0, 2, 3, 1).numpy())
        assert evaluator.n == 80
