"""The cache of features: of files that went through a network before, found by content.

An entry holds the features of one block of files at one layer of one network, and what decoding them found.
Its name is a hash of the files' bytes, in order; the folder of its layer is named by a hash of everything else that the
features depend on: network, layer, weights, decoding, resize, scale, precision (with the batch size, where that is not
float32), kind of device, Pillow's limits, versions, and the code of this package that turns pixels into features.
Nothing is looked up by path or by date, so that nothing has to be trusted; whatever differs is not found. Entries are
written atomically, carry a hash, and are never unpickled.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
import numpy as np
import platformdirs
from filelock import FileLock, Timeout
from PIL import Image, ImageFile, features

from ganeval.errors import ConfigError, InputError
from ganeval.features.cache_entry import Entry, packed, spec_of, unpacked
from ganeval.files import parse_size, write_text, written_whole
from ganeval.parsing.arguments import CACHE
from ganeval.parsing.documents import DocumentError, read_json_tree, typed
from ganeval.parsing.variables import flag
from ganeval.protocol import Protocol

if TYPE_CHECKING:
    from ganeval.features.interface import Extractor

VARIABLE, DIRECTORY_VARIABLE, SIZE_VARIABLE = "GANEVAL_CACHE", "GANEVAL_CACHE_DIR", "GANEVAL_CACHE_SIZE"
DEFAULT_SIZE = 4 * 2**30  # bytes
_LAYOUT = "2"  # of the folder and of an entry
_ABOUT, _HELD, _SUFFIX = "about.json", "held", ".features"
_LEFT_BEHIND = 3600.0  # seconds after which a temporary file is a leftover
_FRESH = 60.0  # seconds in which a hold counts even if its lock is free: it may be about to be taken
_COUNT_AGAIN = 2.0  # seconds until the bytes are counted again: other processes write too
_PACKAGES = ("torch", "torchvision", "pillow", "numpy", "timm", "open_clip_torch")

_logger = logging.getLogger("ganeval")


@dataclass(frozen=True, slots=True, eq=False)
class LayerCache:
    """The folder with the entries of one layer of one network, and what all of them share."""

    folder: Path
    about: Mapping[str, Any]

    def path(self, key: str, files: int) -> Path:
        return self.folder / f"{key}-{files}{_SUFFIX}"

    def has(self, key: str, files: int) -> bool:
        return self.path(key, files).is_file()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """Entries of one set under one protocol at one layer: ``images`` counts files, ``used`` is seconds since 1970."""

    spec: str
    protocol: str
    extractor: str
    layer: str
    weights: str | None
    precision: str
    device: str
    entries: int
    images: int
    bytes: int
    used: float


class FeatureCache:
    """A folder of entries with a bound on its bytes; any number of processes may use it at once.

    A problem with it (a read-only folder, a full disk, a damaged entry) costs time, and never a run: it is logged once,
    and the features are computed.

    Args:
        folder: made when the first entry is written.
        size: bytes; the least recently used entries go first, never one that a running pass has used.

    Raises:
        ConfigError: the size is not a number of bytes.
    """

    def __init__(self, folder: str | Path, *, size: int = DEFAULT_SIZE) -> None:
        if not isinstance(size, int) or size < 1:
            raise ConfigError(f"the size of the cache is {size!r}; expected a number of bytes from 1 on.")
        self.folder, self.size = Path(folder).expanduser(), size
        self._bytes, self._counted = 0, -_COUNT_AGAIN
        self._writes = True  # until it turns out that nothing can be written
        self._full_until = 0.0
        self.warns, self._said = True, set[str]()

    def layer_cache(self, extractor: Extractor, tap: str, batch_size: int) -> LayerCache:
        """The cache of one layer of features; under a lower precision it depends on the batch size too."""
        protocol = extractor.protocol
        about = {
            **_of_network(protocol, tap),
            "device": extractor.device.type,
            "compiled": extractor.compiled,
            "batch": None if protocol.precision == "float32" else batch_size,
            "max_pixels": Image.MAX_IMAGE_PIXELS,
            "truncated": ImageFile.LOAD_TRUNCATED_IMAGES,
            **_of_this_installation(),
        }
        named = {k: v for k, v in about.items() if k != "name"}  # protocols of one preparation share their features
        return LayerCache(self.folder / _named_by(named), about)

    # --- entries ---------------------------------------------------------------------------------------------------

    def get(self, layer_cache: LayerCache, key: str, files: int) -> Entry | None:
        """The entry, or None; a damaged one is removed."""
        path = layer_cache.path(key, files)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        entry = unpacked(data, files)
        if entry is None:
            _logger.debug("the entry %s of the cache is damaged: it is dropped, and computed again", path.name)
            with suppress(OSError):
                path.unlink()
            return None
        with suppress(OSError):  # a read-only folder does not remember
            os.utime(path)
        return entry

    def put(self, layer_cache: LayerCache, key: str, files: int, entry: Entry) -> None:
        """Write an entry, if there is room for it and its features are finite."""
        if not self._writes or time.monotonic() < self._full_until or not np.isfinite(entry.rows).all():
            return
        data = packed(entry)
        if not self._has_room(len(data)):
            self._full_until = time.monotonic() + _COUNT_AGAIN
            self._say(
                f"the cache is full: entries in use fill its {self.size / 1e6:.3g} MB, and the features of further "
                f"images are not kept. Allow more with --cache-size ({SIZE_VARIABLE})"
            )
            return
        for _ in range(2):  # once more where another process cleared the folder in between
            try:
                _write(layer_cache, layer_cache.path(key, files), data)
                self._bytes += len(data)
                return
            except (OSError, InputError) as error:
                reason = error if isinstance(error, OSError) else error.__cause__
                # Windows locks the files of a folder that is being removed
                removed = not layer_cache.folder.is_dir() and os.access(self.folder, os.W_OK)
                if isinstance(reason, FileNotFoundError) or (removed and isinstance(reason, PermissionError)):
                    continue
                why = getattr(reason, "strerror", None) or reason or error
                self._say(f"features are not kept: the cache in {self.folder} cannot be written to ({why})")
                self._writes = False
                return
        _logger.debug("the folder %s was removed while an entry was written, which is left out", layer_cache.folder)

    def failed(self, error: Exception) -> None:
        """Log an unforeseen error instead of raising it."""
        self._say(f"features are not kept: the cache in {self.folder} failed ({type(error).__name__}: {error})")

    # --- room ------------------------------------------------------------------------------------------------------

    @contextmanager
    def held(self) -> Iterator[None]:
        """While the block runs, no process removes what is used in it."""
        lock = None
        with suppress(OSError, NotImplementedError):  # a file system without locks
            (self.folder / _HELD).mkdir(parents=True, exist_ok=True)
            name = f"{time.time_ns()}-{os.getpid()}-{secrets.token_hex(4)}.lock"
            lock = FileLock(self.folder / _HELD / name, thread_local=False)
            lock.acquire(timeout=1)
        try:
            yield
        finally:
            if lock is not None:
                with suppress(OSError, NotImplementedError):
                    lock.release()
                with suppress(OSError):
                    Path(lock.lock_file).unlink(missing_ok=True)

    def trim(self, size: int | None = None) -> None:
        """Remove the least recently used entries, down to ``size`` bytes (default: the bound)."""
        size = self.size if size is None else size
        found, since = sorted(self._entries(), key=lambda entry: entry[2]), self._held_since()
        total = sum(length for _, length, _ in found)
        for path, length, used in found:
            if total <= size or used >= since:
                break
            if _removed(path):
                total -= length
        self._bytes, self._counted = total, time.monotonic()

    def clear(self, *, older_than: float | None = None, protocol: Protocol | None = None) -> tuple[int, int, int]:
        """Remove entries; those that a running pass has used stay.

        Args:
            older_than: only those not used for so many days.
            protocol: only those of this network and preparation, at any weights; at its layer alone if that is not the
                network's usual one.

        Returns:
            Numbers of entries removed, of their bytes, and of entries that were kept because they are in use.
        """
        if older_than is None and protocol is None:
            forget(self.folder)
        before = time.time() - 86400 * (older_than or 0.0)
        removed = freed = kept = 0
        since = self._held_since()
        for layer_cache in self._layer_caches():
            if protocol is not None and not _is_of(layer_cache.about, protocol):
                continue
            for path, length, used in self._entries(layer_cache.folder):
                if used > before and older_than is not None:
                    continue
                if used >= since:
                    kept += 1
                elif _removed(path):
                    removed, freed = removed + 1, freed + length
            with suppress(OSError):  # not while there are entries
                if not any(path.suffix == _SUFFIX for path in layer_cache.folder.iterdir()):
                    (layer_cache.folder / _ABOUT).unlink(missing_ok=True)
                    layer_cache.folder.rmdir()
        return removed, freed, kept

    def list(self) -> list[Listed]:
        """All entries, grouped by set, protocol and layer; the last used first."""
        found: dict[tuple[str, Path], list[tuple[int, int, float]]] = {}
        layer_caches = {layer_cache.folder: layer_cache for layer_cache in self._layer_caches()}
        for folder in layer_caches:
            for path, length, used in self._entries(folder):
                spec = spec_of(path)
                if spec is not None:
                    found.setdefault((spec, folder), []).append((int(path.stem.rpartition("-")[2]), length, used))
        rows = []
        for (spec, folder), entries in found.items():
            about = layer_caches[folder].about
            images, lengths, uses = zip(*entries, strict=True)
            shown = {name: about[name] for name in _About.__struct_fields__ if name != "name"}
            counted = {"entries": len(entries), "images": sum(images), "bytes": sum(lengths), "used": max(uses)}
            rows.append(Listed(spec=spec, protocol=str(about["name"]), **shown, **counted))
        return sorted(rows, key=lambda row: -row.used)

    def _has_room(self, needed: int) -> bool:
        if time.monotonic() - self._counted > _COUNT_AGAIN:
            self._bytes, self._counted = sum(length for _, length, _ in self._entries()), time.monotonic()
        if self._bytes + needed > self.size:
            # a tenth at once, so that a full cache is not searched for every entry
            self.trim(self.size - max(needed, self.size // 10))
        return self._bytes + needed <= self.size

    def _entries(self, folder: Path | None = None) -> Iterator[tuple[Path, int, float]]:
        """Path, bytes and time of last use; what a killed process left half-written is removed on the way."""
        for layer_cache in filter(_is_layer_cache, self.folder.glob("*/")) if folder is None else [folder]:
            with suppress(OSError), os.scandir(layer_cache) as found:
                for one in found:
                    if one.name.endswith((_SUFFIX, ".json")):
                        with suppress(OSError):
                            status = one.stat()
                            if one.name.startswith("."):
                                if time.time() - status.st_mtime > _LEFT_BEHIND:
                                    Path(one.path).unlink(missing_ok=True)
                            elif one.name.endswith(_SUFFIX):
                                yield Path(one.path), status.st_size, status.st_mtime

    def _layer_caches(self) -> Iterator[LayerCache]:
        for path in sorted(self.folder.glob(f"*/{_ABOUT}")):
            if not _is_layer_cache(path.parent):
                continue
            with suppress(InputError, DocumentError):  # a damaged one describes nothing
                about = read_json_tree(path, what="description of cached features", advice="")
                typed(about, _About)
                yield LayerCache(path.parent, about)

    def _held_since(self) -> float:
        """When the first of the running passes began; infinity if none is running."""
        started = [float("inf")]
        for path in self.folder.glob(f"{_HELD}/*.lock"):
            with suppress(OSError, ValueError):
                begun = int(path.name.partition("-")[0]) / 1e9
                if time.time() - begun > _FRESH:
                    try:
                        with FileLock(path, timeout=0, thread_local=False):
                            path.unlink(missing_ok=True)  # its process has ended
                        continue
                    except (Timeout, NotImplementedError):  # where nothing can be locked, nothing is thrown away
                        pass
                started.append(begun - 1)  # clocks of file systems are coarse
        return min(started)

    def _say(self, message: str) -> None:
        if message not in self._said and self.warns:
            _logger.info("%s", message)
        self._said.add(message)


def open_cache(given: bool | str | Path | FeatureCache | None) -> FeatureCache | None:
    """The cache that the argument ``cache`` of ``evaluate`` stands for.

    Args:
        given: False: none; True: the one of this user; None: the same unless ``GANEVAL_CACHE=0``; or its folder.
    """
    if isinstance(given, FeatureCache):
        return given
    given = cast(bool | str | Path | None, CACHE("cache", given))
    if given is None:
        given = flag(VARIABLE, default=True)
    if given is False:
        return None
    text = os.environ.get(SIZE_VARIABLE)
    size = DEFAULT_SIZE if not text else parse_size(text)
    if size is None:
        raise ConfigError(f"{SIZE_VARIABLE} is {text!r}; expected a size such as 500MB or 8GB.")
    return FeatureCache(default_folder() if given is True else given, size=size)


def default_folder() -> Path:
    """``GANEVAL_CACHE_DIR``, else below the user's cache folder."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    return Path(named) if named else platformdirs.user_cache_path("ganeval", appauthor=False) / "features"


# --- numbers that take long and depend only on a reference ------------------------------------------------------------

_NUMBERS = "numbers"
T = TypeVar("T")


def remembered(folder: Path, key: Mapping[str, object], kind: type[T], compute: Callable[[], T]) -> T:
    """The stored result of ``compute()`` for this key, or a new one, in the folder of the cache.

    A folder that cannot be written to costs time, and never a run. A file that is not a ``kind`` is computed again.

    Args:
        kind: a dataclass of numbers and strings.
    """
    path = folder / _NUMBERS / f"{_named_by(key)}.json"
    with suppress(OSError, InputError, DocumentError):
        return typed(read_json_tree(path, what="kept number", advice=""), kind)
    found = compute()
    with suppress(OSError, InputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(msgspec.to_builtins(found), sort_keys=True))
    return found


def forget(folder: Path) -> None:
    """Remove all of them."""
    with suppress(OSError):
        for path in (folder / _NUMBERS).glob("*.json"):
            path.unlink(missing_ok=True)
        (folder / _NUMBERS).rmdir()


# --- what features depend on -----------------------------------------------------------------------------------------

# ddof is of the covariance; whether the weights are the published ones says no more than their hash; the steps before
# the resize are in the fingerprint of every image, so that REAL is not computed again for other steps of FAKE; the tap
# of the logits is their layer
_NOT_OF_FEATURES = ("ddof", "verified", "prepare", "logits")


class _About(msgspec.Struct):
    """What the list of cached features shows."""

    name: str
    extractor: str
    layer: str
    weights: str | None
    precision: str
    device: str


def _named_by(key: Mapping[str, object]) -> str:
    """A name that stands for these values."""
    return hashlib.blake2b(json.dumps(dict(key), sort_keys=True).encode(), digest_size=16).hexdigest()


def _of_network(protocol: Protocol, tap: str) -> dict[str, object]:
    fields = asdict(replace(protocol, layer=tap))
    return {k: v for k, v in fields.items() if k not in _NOT_OF_FEATURES}


@functools.cache
def _of_this_installation() -> dict[str, object]:
    """Versions of what decodes and computes, and a hash of the code between pixels and features."""
    code = hashlib.blake2b(digest_size=16)
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), *(here.parent / "images").glob("*.py")]):
        code.update(path.name.encode() + path.read_bytes())
    versions = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    decoders = {name: features.version(name) for name in ("libjpeg_turbo", "jpg", "webp")}
    return {"format": _LAYOUT, "code": code.hexdigest(), "versions": versions, "decoders": decoders}


def _write(layer_cache: LayerCache, path: Path, data: bytes) -> None:
    layer_cache.folder.mkdir(parents=True, exist_ok=True)
    if not (layer_cache.folder / _ABOUT).exists():
        write_text(layer_cache.folder / _ABOUT, json.dumps(layer_cache.about, sort_keys=True))
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def _is_of(about: Mapping[str, object], protocol: Protocol) -> bool:
    same = ["extractor", "decode", "resize", "size", "scale", "precision"]
    layers = {about.get("layer")} if ":" not in protocol.name else {protocol.logits or protocol.layer}
    return about.get("layer") in layers and all(about.get(name) == getattr(protocol, name) for name in same)


def _is_layer_cache(folder: Path) -> bool:
    """By its name: everything else in the folder of the cache belongs to somebody, and stays."""
    return len(folder.name) == 32 and set(folder.name) <= set("0123456789abcdef")


def _removed(path: Path) -> bool:
    with suppress(OSError):
        path.unlink()
        return True
    return False
