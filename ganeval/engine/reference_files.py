"""What a spec holds, images or statistics, and the statistics that it names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ganeval.engine.public_statistics import PublicStatistics, find_statistics, get_statistics, recognised
from ganeval.errors import InputError
from ganeval.images.grammar import as_spec
from ganeval.images.specs import ArrayFile, Invalid, Missing, NamedStatistics, OtherFile, Part
from ganeval.parsing.array_files import NpzReader
from ganeval.statistics.reference import FEATURES, Statistics, load_statistics

_IMAGE_MEMBER = "arr_0"  # of images, as ADM's sampling scripts name it
_IMAGES: frozenset[Part] = frozenset({"images"})
_STATISTICS: frozenset[Part] = frozenset({"statistics"})


def parts_of(spec: object) -> frozenset[Part]:
    """What ``spec`` holds, images or statistics; an npz file may hold both (``arr_0``, and moments or features).

    ``FILE.npz:images`` and ``FILE.npz:statistics`` choose one, and so do ``stats:NAME:images`` and
    ``stats:NAME:statistics``. Pickles count as statistics, so that
    ``load_statistics`` can say why it does not read them.
    """
    if isinstance(spec, Statistics):
        return _STATISTICS
    match as_spec(spec):
        case NamedStatistics(part="statistics") | ArrayFile(part="statistics"):
            return _STATISTICS
        case NamedStatistics(name=name, part=part):
            return _parts_of_named(name, part)
        case ArrayFile(path=path, form="npz", part=None):
            return _parts_in(path)
        case OtherFile(path=path) if path.suffix.lower() in (".pkl", ".pickle", ".pt", ".pth"):
            return _parts_in(path)
    return _IMAGES


def _parts_of_named(name: str, part: Part | None) -> frozenset[Part]:
    """As the manifest has it, so that nothing is fetched; an unknown name is an error where it is opened."""
    try:
        images = get_statistics(name).images
    except InputError:
        return _STATISTICS
    if images is None:
        if part is not None:
            raise InputError(f"stats:{name} holds statistics and no images. Give the images themselves.")
        return _STATISTICS
    return _IMAGES | _STATISTICS if part is None else _IMAGES


def images_in(spec: object) -> object:
    """The file that holds the images of ``stats:NAME``, fetched if it is not there; any other ``spec`` as it is."""
    named = as_spec(spec)
    if isinstance(named, NamedStatistics) and "images" in parts_of(named):
        return ArrayFile(named.text, find_statistics(named.name), "npz", "images")
    return spec


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
    """Load the statistics that ``spec`` names: a name, a file or its path.

    A file without provenance that has the hash of public statistics has their provenance.

    Raises:
        InputError: no such file or name, or a file that cannot be used.
        WeightsError: a public file that cannot be fetched.
    """
    if isinstance(spec, Statistics):
        return spec
    match as_spec(spec):
        case NamedStatistics(name=name):
            entry = get_statistics(name)
            stats = load_statistics(find_statistics(name))
            return replace(stats if entry.url is None else _with_provenance(stats, entry), name=name)
        case ArrayFile(path=path) | OtherFile(path=path) | Missing(path=path):
            stats = load_statistics(path)
            same = recognised(path) if stats.meta is None else None
            return stats if same is None else _with_provenance(stats, same)
        case Invalid(problem=problem):
            raise InputError(problem)
        case _:
            return load_statistics(str(spec))


def _with_provenance(stats: Statistics, entry: PublicStatistics) -> Statistics:
    if stats.meta is not None:
        return stats
    return replace(stats, meta=entry.meta, n=stats.n or entry.n, ddof=stats.ddof or 1)
