"""Where an output is written: files, through links, and into what is no file; no device of the machine is named."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from support.gates import record, result

from ganeval.errors import InputError
from ganeval.files import is_stream, require_writable, write_text
from ganeval.result_files import write_record
from ganeval.statistics.npz import with_suffix_npz, write_npz

if sys.platform == "win32":
    pytest.skip("needs POSIX pipes and terminals", allow_module_level=True)


@contextmanager
def pipe(path: Path) -> Iterator[Callable[[], bytes]]:
    """A named pipe with a reader; yields what gives all that was written."""
    os.mkfifo(path)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(path.read_bytes()), daemon=True)
    reader.start()

    def read() -> bytes:
        reader.join(timeout=10)
        return found[0]

    yield read
    if reader.is_alive():  # nothing was written: let the reader go
        path.write_bytes(b"")


def test_a_pipe_stays_a_pipe_and_gets_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    with pipe(path) as read:
        require_writable(path)
        write_text(path, "text\n")
        assert is_stream(path)
        assert read() == b"text\n"
    assert os.listdir(tmp_path) == ["pipe"]


def test_a_device_stays_a_device_and_gets_the_bytes(tmp_path: Path) -> None:
    """A terminal of its own, which no test can break, also not as root."""
    ours, theirs = os.openpty()
    try:
        device = tmp_path / "device"
        device.symlink_to(os.ttyname(theirs))
        require_writable(device)
        write_text(device, "text\n")
        assert os.read(ours, 100) == b"text\r\n"
        assert is_stream(Path(os.ttyname(theirs)))
        assert is_stream(device)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_a_link_and_its_target_is_written(exists: bool, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "r.json", tmp_path / "link.json"
    if exists:
        target.write_text("before")
    link.symlink_to(target)
    require_writable(link)
    write_text(link, "after")
    assert link.is_symlink()
    assert target.read_text() == "after"
    assert [sorted(os.listdir(folder)) for folder in (tmp_path, tmp_path / "there")] == [
        ["link.json", "there"], ["r.json"],
    ]  # fmt: skip


def test_a_block_that_fails_writes_nothing(tmp_path: Path) -> None:
    target, link = tmp_path / "r.npz", tmp_path / "link.npz"
    target.write_text("before")
    link.symlink_to(target)
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_npz(link, {"x": np.array([object()])})
    assert target.read_text() == "before"
    assert sorted(os.listdir(tmp_path)) == ["link.npz", "r.npz"]
    link.unlink()
    link.symlink_to(tmp_path / "no" / "r.npz")
    with pytest.raises(InputError, match="cannot write"):
        require_writable(link)


def test_no_values_of_single_images_beside_a_pipe(tmp_path: Path) -> None:
    arrays = {"fake_image_digests": np.arange(3, dtype=np.uint64)}
    path = tmp_path / "pipe"
    with pipe(path) as read:
        written = write_record(record(result()).evaluation, path, arrays=arrays)
        assert read().startswith(b"{")
    assert written.samples is None
    assert os.listdir(tmp_path) == ["pipe"]
    assert with_suffix_npz(path) == path  # statistics go there too, not to a file pipe.npz beside it
