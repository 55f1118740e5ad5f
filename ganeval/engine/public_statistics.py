"""Statistics by name, ``stats:NAME``: those that ship, and public ones, which are fetched when they are first named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
import platformdirs

from ganeval.download import Notify, fetch, recorded_hash, sha256_of
from ganeval.errors import ConfigError, InputError, WeightsError, did_you_mean
from ganeval.files import reference_stats_dir
from ganeval.parsing.documents import Count, DocumentError, Sha256, read_toml_tree, typed
from ganeval.protocol import get_protocol

_WHAT, _AGAIN = "manifest of public statistics", "Install ganeval again."

Size = Annotated[int, msgspec.Meta(ge=2, le=2**53)]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a source, as the manifest has it; ``PublicStatistics`` describes the keys."""

    name: str
    dataset: str
    file: str
    protocol: str | None = None
    n: Size | None = None
    resolution: Count | None = None
    sha256: str | None = None
    bytes: Count | None = None
    note: str | None = None


class _Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of one publisher."""

    base: str
    licence: str
    note: str
    files: list[_File]
    protocol: str | None = None
    images: Size | None = None


class _Shipped(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file next to the manifest."""

    name: str
    dataset: str
    protocol: str
    n: Size
    resolution: Count
    sha256: Sha256


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``reference_stats/manifest.toml``."""

    weights: Sha256
    source: list[_Source]
    shipped: list[_Shipped] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicStatistics:
    """An entry of ``reference_stats/manifest.toml``.

    Attributes:
        name: the NAME of ``stats:NAME``.
        dataset: the images, in words.
        url: address of the file; None for a file that ships with ganeval.
        protocol: name of the protocol under which it was made.
        weights: SHA-256 of the weights in the form that ganeval loads; None for a file that records it.
        n: number of images, where the publisher or the data set's own documentation says it.
        images: number of images that the file holds in addition to the statistics.
        resolution: of the images, in pixels.
        sha256, bytes: of the file, where published.
        licence: of the file, as its publisher states it.
        note: what to know before comparing with it.
    """

    name: str
    dataset: str
    url: str | None
    protocol: str
    weights: str | None
    n: int | None
    images: int | None = None
    resolution: int | None
    sha256: str | None
    bytes: int | None = None
    licence: str
    note: str

    @property
    def path(self) -> Path:
        """Where the file is, or is fetched to: the user's cache folder."""
        if self.url is None:
            return reference_stats_dir() / f"{self.name}.npz"
        return platformdirs.user_cache_path("ganeval", appauthor=False) / "reference_stats" / f"{self.name}.npz"

    @property
    def first_use(self) -> str | None:
        """The SHA-256 that the first download had, where none is published."""
        return None if self.sha256 is not None else recorded_hash(self.path)

    @property
    def known_hash(self) -> str | None:
        """The published SHA-256, else that of the first download."""
        return self.sha256 or self.first_use

    @property
    def needs_http(self) -> bool:
        """Whether fetching it needs ``--allow-http``: an http address, and no known hash."""
        return self.url is not None and not self.url.startswith("https://") and self.known_hash is None

    @property
    def meta(self) -> dict[str, Any]:
        """Provenance in the form that our own files have."""
        assert self.weights is not None
        protocol = get_protocol(self.protocol).with_weights(self.weights, verified=True)
        return {
            "protocol": protocol.to_dict(),
            "source": {"kind": "public statistics", "spec": self.url, "n": self.n, "note": self.note},
            "warnings": [] if self.sha256 else [f"{self.url} has no published hash: what was fetched is not verified"],
        }

    def to_dict(self) -> dict[str, Any]:
        """The entry and its state on this machine, for JSON."""
        return {
            "name": self.name,
            "dataset": self.dataset,
            "resolution": self.resolution,
            "n": self.n,
            "images": self.images,
            "protocol": self.protocol,
            "url": self.url,
            "licence": self.licence,
            "note": self.note,
            "sha256": self.sha256,
            "first_use_sha256": self.first_use,
            "needs_http": self.needs_http,
            "path": str(self.path),
            "present": self.path.is_file(),
        }


@cache
def read_manifest() -> Manifest:
    """The manifest, read once.

    Raises:
        InputError: it is damaged.
    """
    path = reference_stats_dir() / "manifest.toml"
    tree = read_toml_tree(path, what=_WHAT, advice=_AGAIN)
    try:
        manifest = typed(tree, Manifest)
        named = [item.protocol or source.protocol for source in manifest.source for item in source.files]
        for protocol in (*named, *(item.protocol for item in manifest.shipped)):
            get_protocol(protocol or "")
    except (DocumentError, ConfigError) as error:
        raise InputError(f"{path} is not a valid {_WHAT}: {error}. {_AGAIN}") from error
    return manifest


def shipped_statistics() -> Mapping[str, PublicStatistics]:
    """The statistics that need no download, by name."""
    entries = (
        PublicStatistics(
            **msgspec.structs.asdict(item),
            url=None,
            weights=None,
            licence="that of ganeval",
            note="ships with ganeval",
        )
        for item in read_manifest().shipped
    )
    return {entry.name: entry for entry in entries if entry.path.is_file()}


def public_statistics() -> Mapping[str, PublicStatistics]:
    """The statistics of other publishers, by name."""
    manifest = read_manifest()
    return {
        item.name: PublicStatistics(
            name=item.name,
            dataset=item.dataset,
            url=source.base + item.file,
            protocol=item.protocol or source.protocol or "",
            weights=manifest.weights,
            n=item.n,
            images=source.images,
            resolution=item.resolution,
            sha256=item.sha256,
            bytes=item.bytes,
            licence=source.licence,
            note=item.note or source.note,
        )
        for source in manifest.source
        for item in source.files
    }


def listed_statistics(protocol: str | None = None) -> list[PublicStatistics]:
    """Every entry, those that ship first.

    Args:
        protocol: only those that runs under this protocol can compare with.

    Raises:
        ConfigError: there is no such protocol.
    """
    entries = [*shipped_statistics().values(), *public_statistics().values()]
    if protocol is None:
        return entries
    key = get_protocol(protocol).key()
    return [entry for entry in entries if get_protocol(entry.protocol).key() == key]


def get_statistics(name: str) -> PublicStatistics:
    """The entry of that name.

    Raises:
        InputError: there is no such name.
    """
    shipped, public = shipped_statistics(), public_statistics()
    if name in shipped:
        return shipped[name]
    if name in public:
        return public[name]
    hint = did_you_mean(name, [*shipped, *public], cutoff=0.5, shown="stats:{}")
    raise InputError(
        f"Unknown statistics {name!r}.{hint} Shipped with ganeval: {', '.join(shipped) or 'none'}; "
        f"{len(public)} more can be fetched, see `ganeval stats list`."
    )


def find_statistics(name: str, *, allow_http: bool = False, notify: Notify | None = None) -> Path:
    """The file behind ``stats:NAME``; a public one is fetched into the user's cache folder first.

    Args:
        allow_http: see ``ganeval.download.fetch``.
        notify: takes the announcement of a download.

    Raises:
        InputError: there is no such name.
        WeightsError: the file cannot be fetched.
    """
    entry = get_statistics(name)
    if entry.url is None:
        return entry.path
    return fetch(
        entry.url,
        entry.path,
        sha256=entry.sha256,
        bytes=entry.bytes,
        what=f"reference statistics {name}",
        licence=entry.licence,
        notify=notify,
        allow_http=allow_http,
    )


def verify_statistics(entry: PublicStatistics) -> str:
    """The SHA-256 of the file on this machine, which is the known one where one is known.

    Raises:
        WeightsError: the file is not here, or has another hash.
    """
    if not entry.path.is_file():
        raise WeightsError(
            f"The statistics {entry.name} are not on this machine. Run `ganeval stats fetch {entry.name}`."
        )
    digest, expected = sha256_of(entry.path), entry.known_hash
    if expected is not None and digest != expected:
        known = "its published hash" if entry.sha256 else "the hash of its first download"
        raise WeightsError(
            f"{entry.path} does not have {known}: its SHA-256 is {digest}, expected {expected}. "
            f"Remove it and run `ganeval stats fetch {entry.name}`."
        )
    return digest


def recognised(path: Path) -> PublicStatistics | None:
    """The public entry whose known hash this file has; None where there is none."""
    size = path.stat().st_size
    known = {
        expected: entry
        for entry in public_statistics().values()
        if entry.bytes in (None, size) and (expected := entry.known_hash) is not None
    }
    return known.get(sha256_of(path)) if known else None
