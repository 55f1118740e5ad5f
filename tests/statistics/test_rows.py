"""Rows that are kept for a second pass: the same in memory and on disk, and never left behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from ganeval.errors import InputError
from ganeval.statistics import rows as module
from ganeval.statistics.rows import FeatureRows


def data(n: int, d: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK_BYTES", 24 * 10)  # ten rows of six features


@pytest.mark.parametrize("memory_limit", [0, 24 * 35, 10**6])
@pytest.mark.parametrize("batch", [1, 7, 10, 64, 200])
@pytest.mark.parametrize("block", [1, 9, 10, 33, 1000])
def test_rows_come_back_as_they_went_in_batch(memory_limit: int, batch: int, block: int, tmp_path: Path) -> None:
    x = data(95)
    with FeatureRows(6, memory_limit=memory_limit, directory=tmp_path) as rows:
        for start in range(0, 95, batch):
            rows.append(x[start : start + batch])
        assert len(rows) == 95
        assert rows.in_memory == (memory_limit == 10**6)
        blocks = [b.copy() for b in rows.blocks(block)]
        assert [len(b) for b in blocks[:-1]] == [block] * (len(blocks) - 1)
        assert all(b.dtype == np.float32 for b in blocks)
        np.testing.assert_array_equal(np.concatenate(blocks), x)
        np.testing.assert_array_equal(rows.to_array(), x)


def test_reading_and_appending_take_turns(tmp_path: Path) -> None:
    x = data(60)
    with FeatureRows(6, memory_limit=24 * 15, directory=tmp_path) as rows:
        for start in range(0, 60, 20):
            rows.append(x[start : start + 20])
            np.testing.assert_array_equal(rows.to_array(), x[: start + 20])
            assert [len(b) for b in rows.blocks(50)][-1] <= 50


def test_memory_does_not_grow_past_the_limit(tmp_path: Path) -> None:
    with FeatureRows(6, memory_limit=24 * 35, directory=tmp_path) as rows:
        for _ in range(50):
            rows.append(data(20))
            held = sum(chunk.nbytes for chunk in rows._chunks) + rows._last.nbytes
            assert held <= 24 * (35 + 10)


def test_blocks_cannot_be_written_to() -> None:
    with FeatureRows(6) as rows:
        rows.append(data(5))
        block = next(rows.blocks())
        with pytest.raises(ValueError, match="read-only"):
            block[0] = 0.0


def test_float64_is_rounded_and_tensors_are_taken() -> None:
    torch = pytest.importorskip("torch")
    with FeatureRows(6) as rows:
        rows.append(data(4).astype(np.float64))
        rows.append(torch.from_numpy(data(4, seed=1)))
        assert rows.to_array().dtype == np.float32
        np.testing.assert_array_equal(rows.to_array(), np.concatenate([data(4), data(4, seed=1)]))


def test_empty() -> None:
    with FeatureRows(6) as rows:
        rows.append(data(0))
        assert (len(rows), rows.distinct(), list(rows.blocks()), rows.to_array().shape) == (0, 0, [], (0, 6))


# --- distinct, shared, digests -----------------------------------------------------------------------------------


def test_distinct_and_shared_rows_are_counted() -> None:
    x, y = data(50), data(40, seed=1)
    with FeatureRows(6) as a, FeatureRows(6, memory_limit=0) as b:
        a.append(np.concatenate([x, x[:20]]))
        b.append(np.concatenate([y, x[5:12], x[5:6]]))
        assert (a.distinct(), b.distinct()) == (50, 47)
        assert a.shared_with(b) == b.shared_with(a) == 7
        almost = np.nextafter(x[:1], np.float32(9))
        a.append(almost)
        assert a.distinct() == 51


def test_image_digests_are_kept_if_every_batch_has_them() -> None:
    ids = np.arange(30, dtype=np.uint64)
    with FeatureRows(6) as rows:
        assert rows.digests is None
        rows.append(data(20), ids[:20])
        rows.append(data(10), ids[20:])
        np.testing.assert_array_equal(rows.digests, ids)
        with pytest.raises(InputError, match="3 feature rows came with 2 digests"):
            rows.append(data(3), ids[:2])
        rows.append(data(3))
        assert rows.digests is None


# --- the file is never left behind -------------------------------------------------------------------------------


def spilled(directory: Path) -> FeatureRows:
    rows = FeatureRows(6, memory_limit=0, directory=directory)
    rows.append(data(100))
    assert not rows.in_memory
    return rows


def test_file_is_gone_after_close(tmp_path: Path) -> None:
    rows = spilled(tmp_path)
    handle = rows._file
    assert handle is not None
    rows.close()
    rows.close()
    assert handle.closed
    assert list(tmp_path.iterdir()) == []
    assert (len(rows), rows.distinct()) == (100, 100)
    for use in (rows.to_array, lambda: next(rows.blocks()), lambda: rows.append(data(1))):
        with pytest.raises(InputError, match="these feature rows were closed"):
            use()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_file_is_gone_after_an_exception(tmp_path: Path, error: type[BaseException]) -> None:
    handles = []

    def interrupted() -> None:
        with spilled(tmp_path) as rows:
            handles.append(rows._file)
            raise error

    with pytest.raises(error):
        interrupted()
    assert handles[0].closed
    assert list(tmp_path.iterdir()) == []


def test_file_is_gone_when_the_rows_are_forgotten(tmp_path: Path) -> None:
    rows = spilled(tmp_path)
    handle = rows._file
    assert handle is not None
    del rows
    gc.collect()
    assert handle.closed
    assert list(tmp_path.iterdir()) == []


CHILD = """
import numpy as np, signal, sys
from ganeval.statistics.rows import FeatureRows
rows = FeatureRows(64, memory_limit=0, directory=sys.argv[1])
rows.append(np.zeros((40000, 64), dtype=np.float32))
assert not rows.in_memory
print("ready", flush=True)
if sys.argv[2] == "exit":
    sys.exit(0)
sys.stdin.readline()
"""


@pytest.mark.parametrize("end", ["exit", "SIGINT", "SIGKILL"])
def test_file_is_gone_when_the_process_ends(tmp_path: Path, end: str) -> None:
    if os.name == "nt" and end != "exit":
        pytest.skip("signals of this kind are not sent on Windows")
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), end],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    if end != "exit":
        child.send_signal(getattr(signal, end))
    child.communicate(timeout=60)
    assert list(tmp_path.iterdir()) == []


# --- disk space --------------------------------------------------------------------------------------------------


def test_disk_space_is_checked_before_the_start_iv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    message = (
        r"The features of 1000000 images need 24\.0 MB of temporary disk space; .* has 1\.0 MB free\. "
        r"Free some, .*--feature-memory 24MB"
    )
    with pytest.raises(InputError, match=message):
        FeatureRows(6, memory_limit=10**6, expected=10**6, directory=tmp_path)
    FeatureRows(6, memory_limit=24 * 10**6, expected=10**6, directory=tmp_path)  # stays in memory
    FeatureRows(6, memory_limit=0, expected=10**4, directory=tmp_path)  # fits


def test_a_disk_that_fills_up_is_a_clear_error_iv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with spilled(tmp_path) as rows:
        assert rows._file is not None

        def full(_: object) -> int:
            raise OSError(28, "No space left on device")

        real = rows._file

        class Full:
            seek, close, readinto = real.seek, real.close, real.readinto  # type: ignore[attr-defined]
            write = staticmethod(full)

        monkeypatch.setattr(rows, "_file", Full())
        with pytest.raises(InputError, match="need more temporary disk space"):
            rows.append(data(100))


def test_a_folder_that_cannot_be_used_iv(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(InputError, match="the folder for temporary files, .*missing, cannot be used"):
        FeatureRows(6, memory_limit=0, expected=10, directory=missing)
    with (
        FeatureRows(6, memory_limit=0, directory=missing) as rows,
        pytest.raises(InputError, match="cannot make a temporary file in .*missing"),
    ):
        rows.append(data(100))


def test_arguments_iv() -> None:
    with pytest.raises(InputError, match="d >= 1 and a memory limit >= 0"):
        FeatureRows(0)
    with FeatureRows(6) as rows:
        with pytest.raises(InputError, match="expected rows of 6 features"):
            rows.append(data(3, 7))
        with pytest.raises(InputError, match="feature row 2 has NaN"):
            rows.append(np.array([[0.0] * 6, [0.0] * 6, [np.nan] * 6], dtype=np.float32))
        rows.append(data(3))
        with pytest.raises(InputError, match="a block has at least 1 row"):
            next(rows.blocks(0))
