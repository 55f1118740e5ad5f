"""The store: what is found again, what is thrown away first, and what happens where nothing can be written."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image, ImageFile

from ganeval.errors import ConfigError
from ganeval.features import cache as module
from ganeval.features.cache import FeatureCache, LayerCache, default_folder, open_cache
from ganeval.features.cache_entry import Entry, packed, spec_of
from ganeval.protocol import Protocol, get_protocol

COMPACT = get_protocol("compact").with_weights("ab" * 32, verified=False)


def layer_cache_of(
    cache: FeatureCache, protocol: Protocol = COMPACT, device: str = "cpu", tap: str = "256", compiled: bool = False,
    batch_size: int = 4,
) -> LayerCache:  # fmt: skip
    network = SimpleNamespace(protocol=protocol, device=torch.device(device), compiled=compiled)
    return cache.layer_cache(network, tap, batch_size)  # type: ignore[arg-type]


def entry(n: int = 4, fill: float = 1.0, **others: object) -> Entry:
    return Entry(np.full((n, 256), fill, np.float32), np.arange(n, dtype=np.uint64), **others)  # type: ignore[arg-type]


UNIT = len(packed(entry()))


def used(layer_cache: LayerCache, key: str, files: int, ago: float) -> None:
    at = time.time() - ago
    os.utime(layer_cache.path(key, files), (at, at))


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What is logged, by level and text."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(f"{record.levelname} {record.getMessage()}")  # type: ignore[method-assign]
    logger = logging.getLogger("ganeval")
    before, _ = logger.level, logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(before)


def test_entry_comes_back_whole(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    layer_cache = layer_cache_of(cache)
    rows = np.random.default_rng(0).standard_normal((3, 256)).astype(np.float32)
    rows[0, 0], rows[0, 1] = -0.0, 1e-45
    digests = np.array([0, 2**64 - 1, 7], np.uint64)
    kept = Entry(rows, digests, notes={"grey": 2}, formats={"PNG": 3}, spec="ünter/set")
    cache.put(layer_cache, "k", 3, kept)
    found = cache.get(layer_cache, "k", 3)
    assert found is not None
    assert found.rows.tobytes() == rows.tobytes()
    assert found.digests.tolist() == digests.tolist()
    assert (found.notes, found.formats, found.spec) == (kept.notes, kept.formats, kept.spec)
    assert cache.get(layer_cache, "k", 5) is None
    assert cache.get(layer_cache, "other", 3) is None


def test_set_whose_path_is_not_utf8(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    layer_cache = layer_cache_of(cache)
    cache.put(layer_cache, "k", 4, entry(spec=os.fsdecode(b"caf\xe9")))
    assert cache.get(layer_cache, "k", 4) is not None
    assert spec_of(layer_cache.path("k", 4)) == cache.list()[0].spec == "caf\\udce9"


def test_layer_caches_differ_in_whatever_features_depend_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FeatureCache(tmp_path)
    own = layer_cache_of(cache).folder
    for same in ({"name": "other"}, {"ddof": 0}, {"verified": True}, {"prepare": "pad"}, {"logits": "l"}):
        assert layer_cache_of(cache, replace(COMPACT, **same)).folder == own  # type: ignore[arg-type]
    others = {
        "extractor": "e", "resize": "r", "size": 33, "scale": "x", "decode": "nv", "precision": "bf16",
        "weights": "cd" * 32,
    }  # fmt: skip
    assert {*others, "name", "ddof", "verified", "layer", "prepare", "logits"} == set(Protocol.__dataclass_fields__)
    folders = {layer_cache_of(cache, replace(COMPACT, **{field: value})).folder for field, value in others.items()}  # type: ignore[arg-type]
    folders |= {layer_cache_of(cache, tap="logits").folder, layer_cache_of(cache, device="meta").folder}
    folders |= {layer_cache_of(cache, compiled=True).folder}
    assert len(folders | {own}) == len(others) + 4
    for where, what, value in (
        (Image, "MAX_IMAGE_PIXELS", 10**6), (ImageFile, "LOAD_TRUNCATED_IMAGES", not ImageFile.LOAD_TRUNCATED_IMAGES),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setattr(where, what, value)
            assert layer_cache_of(cache).folder not in folders | {own}
    half = replace(COMPACT, precision="bf16")
    assert layer_cache_of(cache, half).folder != layer_cache_of(cache, half, batch_size=5).folder
    assert layer_cache_of(cache, batch_size=5).folder == own
    for change in ("code", "versions"):
        installed = {**module._of_this_installation(), change: "another"}
        with monkeypatch.context() as patch:
            patch.setattr(module, "_of_this_installation", lambda installed=installed: installed)
            assert layer_cache_of(cache).folder not in folders | {own}


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign"])
def test_damaged_entry_is_dropped(tmp_path: Path, said: list[str], damage: str) -> None:
    cache = FeatureCache(tmp_path)
    layer_cache = layer_cache_of(cache)
    cache.put(layer_cache, "k", 4, entry())
    path = layer_cache.path("k", 4)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes({"flip": bytes(data), "cut": data[:-9], "empty": b"", "foreign": b"x" * 999}[damage])
    assert cache.get(layer_cache, "k", 4) is None
    assert not path.exists()
    assert [line for line in said if "damaged" in line] == said != []
    cache.put(layer_cache, "k", 4, entry())
    assert cache.get(layer_cache, "k", 4) is not None


def test_whole_entry_of_other_files_is_no_answer(tmp_path: Path) -> None:
    """The number of files is checked even where the hash is right."""
    cache = FeatureCache(tmp_path)
    layer_cache = layer_cache_of(cache)
    cache.put(layer_cache, "k", 4, entry())
    os.rename(layer_cache.path("k", 4), layer_cache.path("k", 6))
    assert cache.get(layer_cache, "k", 6) is None


def test_features_that_are_not_finite_are_not_kept(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(layer_cache_of(cache), "k", 4, entry(fill=np.nan))
    assert cache.get(layer_cache_of(cache), "k", 4) is None


def test_what_was_used_last_stays(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, size=5 * UNIT)
    layer_cache = layer_cache_of(cache)
    for i, key in enumerate("abcd"):
        cache.put(layer_cache, key, 4, entry())
        used(layer_cache, key, 4, ago=1000 - i)
    assert cache.get(layer_cache, "a", 4) is not None  # which makes it the last used one
    for key in "ef":
        cache.put(layer_cache, key, 4, entry())
    left = {path.name[0] for path in layer_cache.folder.glob("*.features")}
    assert left == set("acdef")
    assert sum(path.stat().st_size for path in layer_cache.folder.glob("*.features")) <= cache.size


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_a_running_pass_has_used_stays(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    cache = FeatureCache(tmp_path, size=2 * UNIT)
    layer_cache = layer_cache_of(cache)
    for key in "ab":
        cache.put(layer_cache, key, 4, entry())
        used(layer_cache, key, 4, ago=1000)
    with another_process(tmp_path) if elsewhere else cache.held():
        assert cache.get(layer_cache, "a", 4) is not None
        cache.put(layer_cache, "c", 4, entry())  # in place of b
        cache.put(layer_cache, "d", 4, entry())  # there is no room: a and c are in use
        assert {path.name[0] for path in layer_cache.folder.glob("*.features")} == {"a", "c"}
        assert [line for line in said if line.startswith("INFO the cache is full")] == said != []
        assert FeatureCache(tmp_path).clear() == (0, 0, 2)
    monkeypatch.setattr(module, "_FRESH", 0.0)  # the process that was killed left its hold behind
    FeatureCache(tmp_path, size=1).trim()
    assert not list(layer_cache.folder.glob("*.features"))
    assert not list((tmp_path / "held").iterdir())


@contextmanager
def another_process(folder: Path) -> Iterator[None]:
    """That holds what is used, and is killed in the end."""
    code = (
        "import sys, time; from ganeval.features.cache import FeatureCache\n"
        "with FeatureCache(sys.argv[1]).held(): print('held', flush=True); time.sleep(120)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield
    finally:
        process.kill()
        process.communicate()


def test_half_written_files_of_the_killed_are_removed(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    layer_cache = layer_cache_of(cache)
    cache.put(layer_cache, "k", 4, entry())
    old, young = (layer_cache.folder / f".k-4.{name}.features" for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    cache.trim()
    assert not old.exists()
    assert young.exists()
    assert cache.get(layer_cache, "k", 4) is not None


def test_folder_that_cannot_be_written_to_is_said_once(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "file").touch()
    cache = FeatureCache(tmp_path / "file" / "cache")
    with cache.held():
        for key in "ab":
            cache.put(layer_cache_of(cache), key, 4, entry())
    assert len(said) == 1
    assert said[0].startswith(
        f"INFO features are not kept: the cache in {tmp_path / 'file' / 'cache'} cannot be written"
    )
    assert cache.list() == []
    assert cache.clear() == (0, 0, 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_folder_is_still_read(tmp_path: Path, said: list[str]) -> None:
    cache = FeatureCache(tmp_path)
    layer_cache = layer_cache_of(cache)
    cache.put(layer_cache, "k", 4, entry())
    for folder in (layer_cache.folder, tmp_path):
        folder.chmod(0o555)
    try:
        with cache.held():
            assert cache.get(layer_cache, "k", 4) is not None
            cache.put(layer_cache, "l", 4, entry())
    finally:
        for folder in (tmp_path, layer_cache.folder):
            folder.chmod(0o755)
    assert "Permission denied" in said[0]
    assert len(said) == 1


def test_full_disk_is_said_once(tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FeatureCache(tmp_path)
    cache.put(layer_cache_of(cache), "k", 4, entry())

    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    for key in "ab":
        cache.put(layer_cache_of(cache), key, 4, entry())
    assert said == [
        f"INFO features are not kept: the cache in {tmp_path} cannot be written to (No space left on device)"
    ]
    assert [path.name for path in layer_cache_of(cache).folder.glob("*.features")] == ["k-4.features"]
    assert not list(layer_cache_of(cache).folder.glob(".k*"))


@pytest.mark.parametrize("times", [1, 2])
def test_folder_that_is_cleared_meanwhile(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Once costs nothing, and twice the entry alone."""
    cache = FeatureCache(tmp_path)
    layer_cache = layer_cache_of(cache)
    write, cleared = Path.write_bytes, [0]

    def clearing(self: Path, data: bytes) -> int:
        if cleared[0] < times:
            cleared[0] += 1
            (layer_cache.folder / "about.json").unlink()
            layer_cache.folder.rmdir()
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", clearing)
    for key in "ab":
        cache.put(layer_cache, key, 4, entry())
    assert cleared == [times]
    assert {path.name[0] for path in layer_cache.folder.glob("*.features")} == set("ab" if times == 1 else "b")
    assert not [line for line in said if line.startswith("INFO")]


def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pass runs; holds of which nobody can tell whether they are alive count."""
    cache = FeatureCache(tmp_path)
    layer_cache = layer_cache_of(cache)
    cache.put(layer_cache, "a", 4, entry())

    def none(self: FileLock) -> None:
        raise NotImplementedError

    monkeypatch.setattr(FileLock, "_acquire", none)
    monkeypatch.setattr(module, "_FRESH", 0.0)
    with cache.held():
        pass
    assert FeatureCache(tmp_path).clear(older_than=0)[2] == 0  # it left nothing behind
    cache.put(layer_cache, "a", 4, entry())
    (tmp_path / "held" / f"{time.time_ns() - 10**9}-1-x.lock").touch()
    assert FeatureCache(tmp_path).clear() == (0, 0, 1)


def test_list_and_clear(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    other = layer_cache_of(cache, get_protocol("ttur:768").with_weights("cd" * 32, verified=True), tap="768")
    for layer_cache, spec, key, ago in (
        (layer_cache_of(cache), "one", "a", 9),
        (layer_cache_of(cache), "one", "b", 8),
        (other, "two", "c", 90_000),
    ):
        cache.put(layer_cache, key, 4, entry(spec=spec))
        used(layer_cache, key, 4, ago)
    one, two = cache.list()
    assert (one.spec, one.protocol, one.extractor, one.layer, one.entries, one.images) == (
        "one", "compact", "compact-v1", "256", 2, 8,
    )  # fmt: skip
    assert (two.spec, two.protocol, two.layer, two.weights, two.images) == ("two", "ttur:768", "768", "cd" * 32, 4)
    assert one.used == pytest.approx(time.time() - 8, abs=2)
    assert one.bytes + two.bytes == sum(path.stat().st_size for path in tmp_path.glob("*/*.features"))

    assert cache.clear(protocol=get_protocol("clean")) == (0, 0, 0)
    assert cache.clear(protocol=get_protocol("ttur:64")) == (0, 0, 0)
    assert cache.clear(older_than=1.1) == (0, 0, 0)
    assert cache.clear(older_than=1, protocol=get_protocol("compact")) == (0, 0, 0)
    assert cache.clear(older_than=1)[0] == 1
    assert [row.spec for row in cache.list()] == ["one"]
    assert cache.clear(protocol=get_protocol("ttur")) == (0, 0, 0)
    assert cache.clear()[0] == 2
    assert not list(tmp_path.glob("*/*"))


def test_what_the_argument_stands_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert os.environ["GANEVAL_CACHE"] == "0"  # of every other test
    assert open_cache(None) is None
    assert open_cache(False) is None
    monkeypatch.setenv("GANEVAL_CACHE_DIR", str(tmp_path / "named"))
    cache = open_cache(True)
    assert cache is not None
    assert (cache.folder, cache.size) == (tmp_path / "named", 4 * 2**30)
    assert open_cache(cache) is cache
    for value in ("", "1", "true"):
        monkeypatch.setenv("GANEVAL_CACHE", value)
        monkeypatch.setenv("GANEVAL_CACHE_SIZE", "1MB")
        found = open_cache(None)
        assert found is not None
        assert found.size == 2**20
    named = open_cache(str(tmp_path / "other"))
    assert named is not None
    assert named.folder == tmp_path / "other"
    monkeypatch.delenv("GANEVAL_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    if sys.platform == "linux":
        assert default_folder() == tmp_path / "home" / "ganeval" / "features"


def test_sizes_iv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="is 0; expected a number of bytes from 1 on"):
        FeatureCache(tmp_path, size=0)
    monkeypatch.setenv("GANEVAL_CACHE_SIZE", "much")
    with pytest.raises(ConfigError, match="GANEVAL_CACHE_SIZE is 'much'; expected a size"):
        open_cache(tmp_path)
