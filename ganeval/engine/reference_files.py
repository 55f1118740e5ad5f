"""Reference statistics by whatever names them: a file, or ``stats:NAME`` of those that ship and of public ones.

Public statistics are fetched when they are first named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec
import platformdirs

from ganeval.errors import ConfigError, InputError
from ganeval.files import reference_stats_dir
from ganeval.images.grammar import as_spec
from ganeval.images.specs import ArrayFile, Invalid, Missing, NamedStatistics, OtherFile, Part
from ganeval.parsing.array_files import NpzReader
from ganeval.parsing.documents import Count, DocumentError, Sha256, read_toml_tree, typed
from ganeval.protocol import get_protocol
from ganeval.statistics.reference import FEATURES, Statistics, load_statistics

_IMAGE_MEMBER = "arr_0"  # of images, as ADM's sampling scripts name it
_IMAGES: frozenset[Part] = frozenset({"images"})
_STATISTICS: frozenset[Part] = frozenset({"statistics"})
_WHAT, _AGAIN = "manifest of public statistics", "Install ganeval again."


class ManifestFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a source, as the manifest has it; ``PublicStatistics`` says what the keys mean."""

    name: str
    file: str
    protocol: str | None = None
    n: Annotated[int, msgspec.Meta(ge=2, le=2**53)] | None = None
    resolution: Count | None = None
    sha256: str | None = None
    bytes: Count | None = None
    note: str | None = None


class ManifestSource(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of one publisher."""

    base: str
    licence: str
    note: str
    files: list[ManifestFile]
    protocol: str | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``reference_stats/manifest.toml``."""

    weights: Sha256
    source: list[ManifestSource]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicStatistics:
    """An entry of ``reference_stats/manifest.toml``.

    Attributes:
        name: the NAME of ``stats:NAME``.
        url: where the file is.
        protocol: name of the protocol under which it was made.
        weights: SHA-256 of the weights in the form that ganeval loads.
        n: number of images, where the publisher or the data set's own documentation says it.
        resolution: of the images, in pixels.
        sha256, bytes: of the file, where published.
        licence: of the file, as its publisher states it.
        note: what to know before comparing with it.
    """

    name: str
    url: str
    protocol: str
    weights: str
    n: int | None
    resolution: int | None
    sha256: str | None
    bytes: int | None
    licence: str
    note: str

    @property
    def meta(self) -> dict[str, Any]:
        """Provenance in the form that our own files have."""
        return {
            "protocol": get_protocol(self.protocol).with_weights(self.weights, verified=True).to_dict(),
            "source": {"kind": "public statistics", "spec": self.url, "n": self.n, "note": self.note},
            "warnings": [] if self.sha256 else [f"{self.url} has no published hash: what was fetched is not verified"],
        }


def shipped_statistics() -> list[str]:
    """Names of the statistics that need no download."""
    return sorted(path.stem for path in reference_stats_dir().glob("*.npz"))


@cache
def public_statistics() -> Mapping[str, PublicStatistics]:
    """The manifest, by name.

    Raises:
        InputError: the manifest is damaged.
    """
    path = reference_stats_dir() / "manifest.toml"
    tree = read_toml_tree(path, what=_WHAT, advice=_AGAIN)
    try:
        manifest = typed(tree, Manifest)
        for source in manifest.source:
            for item in source.files:
                get_protocol(item.protocol or source.protocol or "")
    except (DocumentError, ConfigError) as error:
        raise InputError(f"{path} is not a valid {_WHAT}: {error}. {_AGAIN}") from error
    entries = [_entry(manifest, source, item) for source in manifest.source for item in source.files]
    return {entry.name: entry for entry in entries}


def public_meta(name: str) -> PublicStatistics | None:
    """The manifest's entry, or None for statistics that ship."""
    return None if name in shipped_statistics() else public_statistics().get(name)


def find_statistics(name: str) -> Path:
    """The file behind ``stats:NAME``; a public one is fetched into the user's cache folder first.

    Raises:
        InputError: there is no such name.
        WeightsError: the file cannot be fetched.
    """
    shipped = shipped_statistics()
    if name in shipped:
        return reference_stats_dir() / f"{name}.npz"
    public = public_statistics()
    if name not in public:
        names = [*shipped, *public]
        close = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean stats:{close[0]}?" if close else ""
        raise InputError(
            f"there are no statistics named {name!r}.{hint} These ship with ganeval: {', '.join(shipped) or 'none'}; "
            f"{len(public)} more can be fetched, see {reference_stats_dir() / 'manifest.toml'}."
        )
    from ganeval.download import fetch  # the network code is needed here only

    entry = public[name]
    target = platformdirs.user_cache_path("ganeval", appauthor=False) / "reference_stats" / f"{name}.npz"
    return fetch(
        entry.url,
        target,
        sha256=entry.sha256,
        bytes=entry.bytes,
        what=f"reference statistics {name}",
        licence=entry.licence,
    )


def _entry(manifest: Manifest, source: ManifestSource, item: ManifestFile) -> PublicStatistics:
    return PublicStatistics(
        name=item.name,
        url=source.base + item.file,
        protocol=item.protocol or source.protocol or "",
        weights=manifest.weights,
        n=item.n,
        resolution=item.resolution,
        sha256=item.sha256,
        bytes=item.bytes,
        licence=source.licence,
        note=item.note or source.note,
    )


def parts_of(spec: object) -> frozenset[Part]:
    """What ``spec`` holds, images or statistics; an npz file may hold both (``arr_0``, and moments or features).

    ``FILE.npz:images`` and ``FILE.npz:statistics`` choose one. Pickles count as statistics, so that
    ``load_statistics`` can say why it does not read them.
    """
    if isinstance(spec, Statistics):
        return _STATISTICS
    match as_spec(spec):
        case NamedStatistics() | ArrayFile(part="statistics"):
            return _STATISTICS
        case ArrayFile(path=path, form="npz", part=None):
            return _parts_in(path)
        case OtherFile(path=path) if path.suffix.lower() in (".pkl", ".pickle", ".pt", ".pth"):
            return _parts_in(path)
    return _IMAGES


def is_statistics(spec: object) -> bool:
    """Whether ``spec`` names statistics and no images, see ``parts_of``."""
    return parts_of(spec) == _STATISTICS


def _parts_in(path: Path) -> frozenset[Part]:
    try:
        with NpzReader(path) as archive:
            names = set(archive.names)
            if not ({"mu", "sigma"} <= names or names & set(FEATURES)):
                return _IMAGES
            return _IMAGES | _STATISTICS if _IMAGE_MEMBER in names and _are_images(archive) else _STATISTICS
    except InputError as error:
        return _STATISTICS if "pickle" in str(error) else _IMAGES


def _are_images(archive: NpzReader) -> bool:
    """Whether the member ``arr_0`` has the shape of images; a damaged one, next to statistics, does not count."""
    try:
        return len(archive.header(_IMAGE_MEMBER).shape) == 4
    except InputError:
        return False


def load_reference(spec: object) -> Statistics:
    """Statistics from whatever ``is_statistics`` accepts, and from any other file by its path.

    Raises:
        InputError: no such file or name, or a file that cannot be used.
        WeightsError: a public file that cannot be fetched.
    """
    if isinstance(spec, Statistics):
        return spec
    named = as_spec(spec)
    match named:
        case NamedStatistics(name=name):
            pass
        case ArrayFile(path=path) | OtherFile(path=path) | Missing(path=path):
            return load_statistics(path)
        case Invalid(problem=problem):
            raise InputError(problem)
        case _:
            return load_statistics(str(spec))
    stats = load_statistics(find_statistics(name))
    public = public_meta(name)
    if public is not None and stats.meta is None:
        stats = replace(stats, meta=public.meta, n=stats.n or public.n, ddof=stats.ddof or 1)
    return replace(stats, name=name)
