"""Feature rows in place of images: files or arrays of (n, d) numbers that another program computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ganeval.digests import SetDigest
from ganeval.engine.accumulator import SetFeatures
from ganeval.engine.config import EvaluationConfig
from ganeval.engine.inputs import ImageSet, ImageSets, OpenedSets
from ganeval.errors import ConfigError, IncomparableError, InputError, NotEnoughSamplesError
from ganeval.images.grammar import as_spec
from ganeval.images.specs import ArrayFile
from ganeval.parsing.arguments import option
from ganeval.parsing.array_files import NpzReader, read_header
from ganeval.protocol import FEATURES, Protocol, features_protocol
from ganeval.statistics.moments import Moments, as_rows
from ganeval.statistics.reference import FEATURES as PEERS_MEMBERS
from ganeval.statistics.reference import Statistics
from ganeval.statistics.rows import row_hashes

KIND = "features"
MEMBERS = ("features", "arr_0", "rows", *PEERS_MEMBERS)  # of an npz file, the first one that it has
LABELS = ("labels", "arr_1")
_BLOCK = 4096


def takes_features(config: EvaluationConfig) -> bool:
    """Whether the image sets of a run are feature rows.

    Raises:
        ConfigError: an option of networks is given too, which has no effect on features.
    """
    if not config.features and config.protocol != FEATURES:
        if config.features_name is not None:
            raise ConfigError(f"{option('features_name')} has no effect without {option('features', True)}.")
        return False
    default = type(config).__dataclass_fields__
    others = ("protocol", "weights", "precision", "compile")
    given = [name for name in others if getattr(config, name) != default[name].default]
    if given and not (given == ["protocol"] and config.protocol == FEATURES):
        raise ConfigError(
            f"{', '.join(option(name) for name in given)} chooses how features are computed, and "
            f"{option('features', True)} takes features that exist. Leave one of them out."
        )
    return True


def open_feature_sets(given: ImageSets, config: EvaluationConfig, minimum: int) -> tuple[OpenedSets, Protocol]:
    """Every set of feature rows of a run, by name, and the protocol of its features.

    Raises:
        InputError: not a file or array of feature rows.
        IncomparableError: sets of different widths.
        NotEnoughSamplesError: fewer rows than a metric needs.
    """
    sets: dict[str, ImageSet] = {}
    numbers = {"real": config.num_real, "fake": config.num_fake}
    for name, spec in given.items():
        sets[name] = _open(name, spec, config, numbers.get(name), minimum)
    widths = {name: one.statistics.mean.size for name, one in sets.items() if one.statistics is not None}
    if len(set(widths.values())) > 1:
        known = ", ".join(f"{name} has {width}" for name, width in widths.items())
        raise IncomparableError(f"the features have different widths: {known}. Compute all sets with one network.")
    return sets, features_protocol(next(iter(widths.values())), config.features_name)


def described(features: SetFeatures, one: ImageSet) -> SetFeatures:
    """The features of a set of rows, with its labels, and with the provenance of rows instead of statistics."""
    meta = {} if one.statistics is None else (one.statistics.meta or {})
    layers = {key: replace(layer, labels=one.labels) for key, layer in features.layers.items()}
    return replace(features, layers=layers, provenance=meta["source"])


def _open(name: str, spec: object, config: EvaluationConfig, num: int | None, minimum: int) -> ImageSet:
    rows, labels, source = _read(name, spec)
    if num is not None:
        if num > len(rows):
            raise InputError(f"{option(f'num_{name}', num)} is more than the {len(rows)} rows of {source['spec']}.")
        chosen = np.sort(np.random.default_rng(config.seed).choice(len(rows), num, replace=False, shuffle=False))
        source["subset"] = {"n": num, "of": len(rows), "seed": config.seed}
        rows, labels = rows[chosen], None if labels is None else labels[chosen]
    if len(rows) < minimum:
        raise NotEnoughSamplesError(
            f"this needs at least {minimum} {name} feature rows; found {len(rows)} in {source['spec']}. Give more rows."
        )
    notes = []
    if rows.dtype == np.float16:
        rows = rows.astype(np.float32)
        notes.append(f"{source['spec']} holds features of half precision: their rounding stays in the result")
    moments, digest, hashes = Moments(rows.shape[1]), SetDigest(), []
    for start in range(0, len(rows), _BLOCK):
        block = as_rows(rows[start : start + _BLOCK], rows.shape[1], first=start)
        block = np.ascontiguousarray(block, dtype=np.float32)
        moments.update(block)
        hashes.append(row_hashes(block))
        digest.update(hashes[-1])
    gaussian, protocol = moments.finish(), features_protocol(rows.shape[1], config.features_name)
    source |= {"n": len(rows), "digest": digest.hexdigest()}
    statistics = Statistics(
        mean=gaussian.mean,
        covariance=gaussian.covariance,
        n=gaussian.n,
        ddof=gaussian.ddof,
        meta={"protocol": protocol.to_dict(), "source": source, "warnings": notes},
        rows=rows,
        digests=np.concatenate(hashes),
    )
    return ImageSet(str(source["spec"]), statistics=statistics, labels=labels)


def _read(name: str, spec: object) -> tuple[np.ndarray, np.ndarray | None, dict[str, object]]:
    """The rows, float16 to float64; the class of each, where the file says it; what describes them."""
    labels = None
    named = as_spec(spec)
    if named is None:
        rows, where = spec, f"{name}, given from Python"
        if hasattr(rows, "detach"):  # a torch tensor
            rows = rows.detach().cpu().numpy()
    elif isinstance(named, ArrayFile):
        where = str(named.path)
        rows, labels = _of_npz(named.path) if named.form == "npz" else (_of_npy(named.path), None)
    else:
        raise InputError(
            f"{option('features', True)} expected a .npy or .npz file of feature rows; found {spec}. Save the features "
            "with numpy.save, shape (n, d)."
        )
    shape, dtype = getattr(rows, "shape", None), getattr(rows, "dtype", None)
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.dtype.kind != "f" or 0 in rows.shape:
        raise InputError(
            f"{where}: expected feature rows, floating-point numbers of shape (n, d); found shape {shape} of {dtype}. "
            "Save one row of features for each item."
        )
    return rows, labels, {"spec": where, "kind": KIND}


def _of_npy(path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            header = read_header(file, path.stat().st_size, str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}. Check its permissions.") from error
    if not header.nbytes:
        return np.empty(header.shape, header.dtype)
    order: Any = "F" if header.fortran else "C"
    return np.memmap(path, dtype=header.dtype, mode="r", offset=header.offset, shape=header.shape, order=order)


def _of_npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    with NpzReader(path) as archive:
        shapes: Mapping[str, tuple[int, ...]] = {name: archive.header(name).shape for name in archive.names}
        known = [name for name in MEMBERS if len(shapes.get(name, ())) == 2]
        known = known or [name for name, shape in shapes.items() if len(shape) == 2 and len(shapes) == 1]
        if not known:
            raise InputError(
                f"{path} has no member of feature rows: expected {', '.join(MEMBERS)} of shape (n, d); found "
                f"{', '.join(f'{name} {shape}' for name, shape in shapes.items()) or 'nothing'}."
            )
        n = shapes[known[0]][0]
        labels = [archive.read(name) for name in LABELS if shapes.get(name) == (n,)]
        return archive.map_rows(known[0]), labels[0].astype(str) if labels else None
