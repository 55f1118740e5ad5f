"""Reference statistics on disk: npz with ``mu`` and ``sigma``, which other tools read too, plus provenance.

Files of pytorch-fid, TTUR, clean-fid, EDM and ADM are read too; they do not say how they were made, so their protocol
is unknown and they can be compared with nothing until the user states it. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ganeval.errors import GanEvalError, InputError
from ganeval.parsing.array_files import NpzReader
from ganeval.parsing.documents import DocumentError, parse_json, plain, typed
from ganeval.parsing.result_document import ImageSet
from ganeval.protocol import Protocol
from ganeval.statistics.moments import Gaussian, Moments
from ganeval.statistics.npz import with_suffix_npz, write_npz

MAX_DIGESTS = 10**6  # images of which the digests are kept, 8 bytes each
TOLERANCE = 1e-6  # of the largest entry: what is still a covariance
_MAX_DIMENSION = 2**16
_MOST = 2**53  # images
_LARGEST = 1e20  # of a mean, and its square of a covariance: a distance is then a number that documents can hold
FEATURES = ("feats", "reps", "real_feats")  # of clean-fid's KID files, dgm-eval, StudioGAN
_PREFIX = "stats:"
_OTHER = "features."  # and the name of a network


@dataclass(frozen=True, slots=True, eq=False)
class Statistics:
    """Moments of the features of a set of images, and their provenance.

    Attributes:
        mean: (d,) float64.
        covariance: (d, d) float64.
        n: number of images; None where a file does not say.
        ddof: of the covariance; None where a file does not say (every peer that writes such files has 1).
        meta: provenance, JSON-able: ``protocol`` (``Protocol.to_dict``), ``source``, ``environment``, ``warnings``.
            None for files that do not say how they were made.
        rows: (n, d) features, where they were kept.
        row_sample: (k, d) features of some of the images, drawn evenly: what a calibration needs of them.
        digests: (n,) uint64, one an image, where they were kept.
        digest_sample: of more than ``MAX_DIGESTS`` images the smallest digests in their place, sorted: an even draw,
            independent of order and shards, which still shows a share that counts twice.
        source_path: the file.
        name: the NAME of ``stats:NAME``.
        spatial: mean and covariance on the layer that keeps places, the members ``mu_s`` and ``sigma_s`` of the ADM
            evaluator's files, flattened in the order height, width, channel, as our ``sfid`` layer is.
        other_rows: (n, d) features of the same images on other networks, by the name of the network; ``meta`` has the
            protocol of each under ``networks``.
    """

    mean: np.ndarray
    covariance: np.ndarray
    n: int | None = None
    ddof: int | None = None
    meta: Mapping[str, Any] | None = None
    rows: np.ndarray | None = None
    row_sample: np.ndarray | None = None
    digests: np.ndarray | None = None
    digest_sample: np.ndarray | None = None
    source_path: Path | None = None
    name: str | None = None
    spatial: tuple[np.ndarray, np.ndarray] | None = None
    other_rows: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def spec(self) -> str:
        """As a user would name them."""
        if self.name is not None:
            return f"{_PREFIX}{self.name}"
        return "statistics" if self.source_path is None else str(self.source_path)

    @property
    def protocol(self) -> Protocol | None:
        """None where it is not known."""
        return None if self.meta is None else _protocol_of(self.meta, self.spec)

    def network(self, name: str) -> Protocol | None:
        """The protocol of ``other_rows`` on a network; None where there are none."""
        named = (self.meta or {}).get("networks", {})
        return _protocol_of({"protocol": named.get(name)}, self.spec) if name in self.other_rows else None

    @property
    def digest(self) -> str:
        """Of the images where that is known, else of the numbers, 32 hexadecimal digits."""
        source = (self.meta or {}).get("source")
        if isinstance(source, Mapping) and isinstance(source.get("digest"), str):
            return str(source["digest"])
        return self._digest_of(self.mean, self.covariance)

    @property
    def spatial_digest(self) -> str | None:
        """Of the numbers of ``spatial``, 32 hexadecimal digits."""
        return None if self.spatial is None else self._digest_of(*self.spatial)

    def _digest_of(self, *arrays: np.ndarray) -> str:
        state = hashlib.blake2b(f"{self.n}:{self.ddof}".encode(), digest_size=16)
        for array in arrays:
            state.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
        return state.hexdigest()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of the run that made them."""
        return tuple(str(w) for w in (self.meta or {}).get("warnings", ()))

    @property
    def note(self) -> str | None:
        """What whoever built them wanted to be remembered."""
        note = (self.meta or {}).get("note")
        return note if isinstance(note, str) and note else None

    def gaussian(self) -> Gaussian:
        return Gaussian(self.n, self.mean, self.covariance, 1 if self.ddof is None else self.ddof)

    def spatial_gaussian(self) -> Gaussian | None:
        """Of the layer that keeps places; None where the file has no such statistics."""
        return None if self.spatial is None else Gaussian(self.n, *self.spatial, 1 if self.ddof is None else self.ddof)


def load_statistics(path: str | PathLike[str]) -> Statistics:
    """Read an npz of moments, ours or a peer's, or of features, from which the moments are computed.

    Checked: ``mu`` of d numbers and ``sigma`` of d x d, finite, symmetric to 1e-6 of its largest entry, no eigenvalue
    below -1e-6 of it. Float32 is accepted and widened. Of our own files the rows are mapped, not loaded.

    Raises:
        InputError: no file, no npz, a pickle, pickled objects inside, NaN, shapes that do not fit, no statistics at
            all.
    """
    path = Path(path)
    with NpzReader(path) as archive:
        names = archive.names
        if "mu" in names and "sigma" in names:
            return _moments_from(archive, path, names)
        for name in FEATURES:
            if name in names:
                return _features_from(archive, path, name)
    images = " It holds images (arr_0): give it as images." if "arr_0" in names else ""
    raise InputError(
        f"{path} holds no statistics: it needs the members mu and sigma, and has {', '.join(names) or 'none'}.{images}"
    )


def save_statistics(path: str | PathLike[str], stats: Statistics) -> Path:
    """Write statistics as npz, atomically; equal statistics give equal bytes. ``.npz`` is appended if missing.

    The members ``mu`` and ``sigma`` are what pytorch-fid, clean-fid and their relatives read. Further members: ``n``,
    ``ddof``, ``meta`` (one JSON string), and, where there are any, ``mu_s`` and ``sigma_s`` (float64), ``features`` and
    ``features.NETWORK`` (float32), ``feature_sample`` (float16) and ``digests`` (up to 1e6).

    Returns:
        The path that was written.

    Raises:
        InputError: numbers that are not moments, provenance that is not JSON, a folder that cannot be written to.
    """
    target = with_suffix_npz(Path(path))
    gaussian = stats.gaussian()
    arrays = {"mu": gaussian.mean, "sigma": gaussian.covariance}
    if (spatial := stats.spatial_gaussian()) is not None:
        arrays |= {"mu_s": spatial.mean, "sigma_s": spatial.covariance}
    if stats.n is not None:
        arrays["n"] = np.array(stats.n, dtype=np.int64)
    if stats.ddof is not None:
        arrays["ddof"] = np.array(stats.ddof, dtype=np.int64)
    if stats.meta is not None:
        try:
            arrays["meta"] = np.array(json.dumps(stats.meta, sort_keys=True, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"the provenance of {target} is not plain JSON: {error}. Keep text, numbers, lists and mappings in it."
            ) from error
    if stats.rows is not None:
        arrays["features"] = np.asarray(stats.rows, dtype=np.float32)
    arrays |= {_OTHER + name: np.asarray(rows, dtype=np.float32) for name, rows in stats.other_rows.items()}
    if stats.row_sample is not None:
        narrow = np.abs(stats.row_sample).max(initial=0) <= np.finfo(np.float16).max
        arrays["feature_sample"] = np.asarray(stats.row_sample, dtype=np.float16 if narrow else np.float32)
    if stats.digests is not None and len(stats.digests) <= MAX_DIGESTS:
        arrays["digests"] = np.asarray(stats.digests, dtype=np.uint64)
    elif (sample := sampled_digests(stats)) is not None:
        arrays["digest_sample"] = sample
    write_npz(target, arrays)
    return target


def sampled_digests(stats: Statistics) -> np.ndarray | None:
    """The at most ``MAX_DIGESTS`` smallest digests of the images, sorted; None where none are known."""
    known = stats.digests if stats.digests is not None else stats.digest_sample
    return None if known is None else np.sort(np.asarray(known, dtype=np.uint64))[:MAX_DIGESTS]


def _moments_from(archive: NpzReader, path: Path, names: Sequence[str]) -> Statistics:
    mean, covariance = _moments(archive, path, "mu", "sigma")
    d = len(mean)
    meta = _meta(archive, path) if "meta" in names else None
    stats = Statistics(
        mean=mean,
        covariance=covariance,
        n=_integer(archive, path, "n", 2) if "n" in names else None,
        ddof=_integer(archive, path, "ddof", 0) if "ddof" in names else None,
        meta=meta,
        rows=_kept(archive, path, "features", "f", 2) if "features" in names and meta is not None else None,
        row_sample=_row_sample(archive, path, d) if "feature_sample" in names and meta is not None else None,
        digests=_kept(archive, path, "digests", "u", 1) if "digests" in names and meta is not None else None,
        digest_sample=_kept(archive, path, "digest_sample", "u", 1)
        if "digest_sample" in names and meta is not None
        else None,
        source_path=path,
        spatial=_moments(archive, path, "mu_s", "sigma_s") if {"mu_s", "sigma_s"} <= set(names) else None,
        other_rows={
            name: _kept(archive, path, _OTHER + name, "f", 2)
            for name in (meta or {}).get("networks", {})
            if _OTHER + name in names
        },
    )
    for rows in (stats.rows, *stats.other_rows.values()):
        if rows is not None and (len(rows) != stats.n or (rows is stats.rows and rows.shape[1] != d)):
            raise InputError(
                f"{path}: features of shape {rows.shape} do not belong to {stats.n} images of {d} features."
            )
    if stats.protocol is not None:  # reading it checks it
        stats.protocol.key()
    try:
        stats.gaussian(), stats.spatial_gaussian()
    except GanEvalError as error:
        raise InputError(f"{path}: {error}") from error
    return stats


def _moments(archive: NpzReader, path: Path, mu_name: str, sigma_name: str) -> tuple[np.ndarray, np.ndarray]:
    """A mean and its covariance, in float64, checked."""
    mu, sigma = archive.header(mu_name), archive.header(sigma_name)
    d = mu.shape[0] if len(mu.shape) == 1 else 0
    if not 0 < d <= _MAX_DIMENSION or sigma.shape != (d, d):
        raise InputError(
            f"{path}: {mu_name} must be d numbers and {sigma_name} d x d; they have shapes {mu.shape} and "
            f"{sigma.shape}. Take both from one set of features."
        )
    if mu.dtype.kind != "f" or sigma.dtype.kind != "f":
        raise InputError(f"{path}: {mu_name} and {sigma_name} must be floats; they are {mu.dtype} and {sigma.dtype}.")
    covariance = _checked_covariance(archive.read(sigma_name).astype(np.float64), path, sigma_name)
    mean = archive.read(mu_name).astype(np.float64)
    if (np.abs(mean) > _LARGEST).any():
        raise InputError(f"{path}: {mu_name} has entries beyond 1e20. Build the statistics again.")
    return mean, covariance


def _checked_covariance(sigma: np.ndarray, path: Path, name: str) -> np.ndarray:
    if not np.isfinite(sigma).all():
        raise InputError(f"{path}: {name} has NaN or infinite entries. Build the statistics again.")
    largest = float(np.abs(sigma).max())
    if largest > _LARGEST**2:
        raise InputError(f"{path}: {name} has entries beyond 1e40. Build the statistics again.")
    asymmetry = float(np.abs(sigma - sigma.T).max())
    if asymmetry > TOLERANCE * largest:
        raise InputError(
            f"{path}: {name} is not symmetric (by {asymmetry:.2g}, largest entry {largest:.2g}). Expected a "
            "covariance. Build the statistics again."
        )
    sigma = (sigma + sigma.T) / 2
    if largest == 0.0:
        return sigma
    try:  # a Cholesky factor of the shifted matrix proves that no eigenvalue is below minus the shift
        np.linalg.cholesky(sigma + TOLERANCE * largest * np.eye(len(sigma)))
    except np.linalg.LinAlgError as error:
        smallest = float(np.linalg.eigvalsh(sigma)[0])
        raise InputError(
            f"{path}: {name} has the eigenvalue {smallest:.3g}, below zero. Expected a covariance. Build the "
            "statistics again."
        ) from error
    return sigma


def _features_from(archive: NpzReader, path: Path, name: str) -> Statistics:
    """A peer's file of features: moments are computed from them."""
    header = archive.header(name)
    if len(header.shape) != 2 or not 0 < header.shape[1] <= _MAX_DIMENSION or header.dtype.kind != "f":
        raise InputError(f"{path}: {name} must be (n, d) floats; it has shape {header.shape}, {header.dtype}.")
    rows = archive.map_rows(name)
    moments = Moments(rows.shape[1])
    try:
        for start in range(0, len(rows), 4096):
            moments.update(rows[start : start + 4096])
        gaussian = moments.finish()
        if (np.abs(gaussian.mean) > _LARGEST).any() or np.abs(gaussian.covariance).max() > _LARGEST**2:
            raise InputError(f"{name} has entries beyond 1e20. Build the file again.")
    except GanEvalError as error:
        raise InputError(f"{path}: {error}") from error
    return Statistics(gaussian.mean, gaussian.covariance, gaussian.n, 1, rows=rows, source_path=path)


def _integer(archive: NpzReader, path: Path, name: str, smallest: int) -> int:
    header = archive.header(name)
    value = archive.read(name) if header.shape in ((), (1,)) and header.dtype.kind in "iuf" else None
    if value is None or not float(value.item()).is_integer() or not smallest <= value.item() <= _MOST:
        raise InputError(f"{path}: {name} must be a whole number from {smallest} to 2^53; it is {value}.")
    return int(value.item())


def _kept(archive: NpzReader, path: Path, name: str, kind: str, ndim: int) -> np.ndarray:
    header = archive.header(name)
    if header.dtype.kind != kind or len(header.shape) != ndim:
        raise InputError(f"{path}: {name} has shape {header.shape} and type {header.dtype}. Build the file again.")
    return archive.map_rows(name) if ndim == 2 else archive.read(name)


def _row_sample(archive: NpzReader, path: Path, d: int) -> np.ndarray:
    header = archive.header("feature_sample")
    if header.dtype.kind != "f" or len(header.shape) != 2 or header.shape[1] != d or not 2 <= header.shape[0] <= 2**20:
        raise InputError(
            f"{path}: feature_sample has shape {header.shape} and type {header.dtype}; it needs 2 to 2^20 rows of {d} "
            "floats. Build the file again."
        )
    rows = archive.read("feature_sample").astype(np.float32)
    if not np.isfinite(rows).all():
        raise InputError(f"{path}: feature_sample has NaN or infinite entries. Build the file again.")
    return rows


def _meta(archive: NpzReader, path: Path) -> Mapping[str, Any] | None:
    if archive.header("meta").dtype.kind != "U":
        return None  # another tool's member of that name
    return _provenance(str(archive.read("meta")), path)


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """How statistics were made."""

    protocol: Protocol | None = None
    networks: dict[str, Protocol] = {}
    source: ImageSet | None = None
    environment: dict[str, Any] | None = None
    warnings: list[str] = []
    note: str | None = None


def _provenance(text: str, path: Path) -> Mapping[str, Any] | None:
    """The provenance of a file; None where the member is another tool's, which names no protocol.

    Raises:
        InputError: not JSON, or not what ``Provenance`` declares.
    """
    try:
        tree = parse_json(text)
        if not isinstance(tree, dict):
            return None
        try:
            typed(tree, Provenance)
        except DocumentError:
            if "protocol" not in tree:
                return None
            raise
    except DocumentError as error:
        raise InputError(f"{path}: its provenance cannot be read (meta: {error}). Build the file again.") from error
    return tree


def _protocol_of(meta: Mapping[str, Any], spec: str) -> Protocol | None:
    """The protocol under which statistics were made, where their provenance names one.

    Raises:
        InputError: it is incomplete.
    """
    if meta.get("protocol") is None:
        return None
    try:
        return typed(plain(meta["protocol"]), Protocol)
    except DocumentError as error:
        raise InputError(f"the protocol in {spec} cannot be used ({error}). Build the file again.") from error
