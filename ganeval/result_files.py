"""The document of a run in files: its JSON, and an npz file with one value per image, by which runs can be paired."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganeval.errors import InputError
from ganeval.files import is_stream, written_whole
from ganeval.parsing.documents import MAX_NUMBER, DocumentError, parse_json, read_bytes, require_sound
from ganeval.parsing.layout import to_json
from ganeval.results import Evaluation, MetricResult, evaluation_of

if TYPE_CHECKING:
    import numpy as np

_MAX_ARRAYS = 2**30  # bytes, in the file and inflated
_KINDS = {"u": "unsigned whole number", "U": "text", "biuf": "number"}
_BY_PLACE = {
    "fake": ("realism_fake", "rarity_fake", "nearest_real_fake", "nearest_distance_fake", "nearest_ratio_fake"),
    "real": ("covered_real", "nearest_fake_real", "nearest_distance_real"),
    "test": (),
    "heldout": (),
}
_ADVICE = "Give a JSON file with results that ganeval wrote."
_NUMBERS = ("value", "standard_error", "bias", "corrected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run, with its arrays.

    Attributes:
        name: of the file, or another name for messages.
        arrays: one value per image: influences and digests; empty where they are missing.
        missing: why there are no arrays.
        unusable: metrics whose entry has no finite number, and why.
        verdict: the key ``gate`` of the document of a gate.
    """

    name: str
    evaluation: Evaluation
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    missing: str | None = None
    unusable: Mapping[str, str] = field(default_factory=dict)
    verdict: object = None

    @classmethod
    def of(cls, evaluation: Evaluation, name: str = "this run") -> Record:
        """The record of a new evaluation."""
        return cls(name=name, evaluation=evaluation, arrays=arrays_of(evaluation))

    def result(self, metric: str) -> MetricResult | None:
        return self.evaluation.results.get(metric)


def arrays_of(evaluation: Evaluation) -> dict[str, np.ndarray]:
    sources = (evaluation.per_image, *(r.per_image for r in evaluation.results.values()))
    return {k: v for source in sources for k, v in source.items() if len(v)}


def samples_file(target: Path) -> Path:
    """The file of values of single images of a document."""
    return target.with_name(target.name.removesuffix(".json") + ".samples.npz")


def write_record(
    evaluation: Evaluation,
    target: Path,
    *,
    arrays: Mapping[str, np.ndarray] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Write ``target`` and, where there are arrays, ``TARGET.samples.npz`` in the same folder; both, or neither.

    With a device or a pipe as target no arrays are written.

    Args:
        arrays: None: those of the evaluation.
        more: further keys of the document.

    Returns:
        The evaluation, which now names the file of the arrays.

    Raises:
        InputError: a file cannot be written.
    """
    import numpy as np

    arrays = {} if is_stream(target) else arrays_of(evaluation) if arrays is None else arrays
    samples = samples_file(target)
    with ExitStack() as stack:  # no file gets its name before both are written
        if arrays:
            temporary = stack.enter_context(written_whole(samples))
            np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
            digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
            evaluation = replace(evaluation, samples={"file": samples.name, "sha256": digest})
        else:
            evaluation = replace(evaluation, samples=None)
        document = stack.enter_context(written_whole(target))
        document.write_text(to_json({**evaluation.to_dict(), **(more or {})}) + "\n", encoding="utf-8")
    return evaluation


def read_record(path: str | Path) -> Record:
    """Read a document with results that ganeval wrote; the inverse of ``write_record``.

    Arrays are read only from the file whose hash is in the document. An entry whose number is NaN or missing does not
    prevent the others from being read; ``unusable`` names it.

    Raises:
        InputError: no such file, no JSON, or a document that ``result_document.RunDocument`` does not allow; the
            message names the place.
    """
    path = Path(path)
    data = read_bytes(path, what="result document", advice=_ADVICE)
    try:
        tree = parse_json(data, not_finite=True)
        entries = tree.get("results") if isinstance(tree, dict) else None
        unusable = {}
        if isinstance(entries, dict):
            unusable = {name: why for name, entry in entries.items() if (why := _not_finite(entry)) is not None}
            tree = {**tree, "results": {name: entry for name, entry in entries.items() if name not in unusable}}
        require_sound(tree)
        evaluation = evaluation_of(tree)
    except DocumentError as error:
        raise InputError(f"{path} is not a valid result document: {error}. {_ADVICE}") from error
    arrays, missing = _read_arrays(path, evaluation.samples)
    return Record(
        name=path.name,
        evaluation=evaluation,
        arrays=arrays,
        missing=missing,
        unusable=unusable,
        verdict=tree.get("gate"),
    )


def _not_finite(entry: object) -> str | None:
    """Why this entry has no finite number, where it otherwise looks like a result."""
    if not isinstance(entry, Mapping):
        return None
    interval = entry.get("interval")
    numbers = {name: entry.get(name) for name in _NUMBERS}
    if isinstance(interval, Mapping):
        numbers |= {f"interval's {end}": interval.get(end) for end in ("low", "high")}
    for name, number in numbers.items():
        if isinstance(number, float) and not math.isfinite(number):
            return f"its {name.replace('_', ' ')} is {number}"
    return "it has no value" if "value" in entry and entry["value"] is None else None


def _read_arrays(path: Path, named: Mapping[str, str] | None) -> tuple[dict[str, np.ndarray], str | None]:
    from ganeval.parsing.array_files import NpzReader

    if named is None:
        return {}, f"{path.name} was not written with --output, so there is no file of values of single images"
    file = named["file"]
    if not file or "\x00" in file or Path(file).name != file:
        return {}, f"{path.name} names no file of single images in its folder"
    samples = path.with_name(file)
    try:
        if samples.exists() and not samples.is_file():
            return {}, f"{file} is not a regular file"  # reading a pipe would wait
        with samples.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size > _MAX_ARRAYS:
                return {}, f"{file} is larger than {_MAX_ARRAYS >> 20} MB"
            if hashlib.file_digest(stream, "sha256").hexdigest() != named["sha256"]:
                return {}, f"{file} is not the file that {path.name} was written with: its hash differs"
        with NpzReader(samples) as archive:
            if sum(archive.header(name).nbytes for name in archive.names) > _MAX_ARRAYS:
                return {}, f"{file} is larger than {_MAX_ARRAYS >> 20} MB"
            arrays = {name: archive.read(name) for name in archive.names}
    except FileNotFoundError:
        return {}, f"{file} is not in the folder of {path.name}"
    except (InputError, OSError) as error:
        return {}, f"{file} cannot be read: {error}"
    wrong = _wrong_array(arrays)
    return ({}, f"{file} cannot be used: {wrong}") if wrong is not None else (arrays, None)


def _wrong_array(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The first array that does not have the type and shape that its name requires; None: all do."""
    import numpy as np

    for name, array in arrays.items():
        kinds = "u" if name.endswith("_digests") else "U" if name.endswith(("_names", "_captions")) else "biuf"
        if getattr(array, "ndim", 0) != 1 or array.dtype.kind not in kinds:
            shape = f"of shape {getattr(array, 'shape', ())}, {getattr(array, 'dtype', type(array).__name__)}"
            return f"{name} is {shape}; expected one {_KINDS[kinds]} per image"
        if "_influence_" in name and not (np.abs(array) <= MAX_NUMBER).all():
            return f"{name} is not finite"
    for side in _BY_PLACE:
        lengths = {n: len(a) for n, a in arrays.items() if n in (f"{side}_image_digests", f"{side}_image_names")}
        places = {n: len(a) for n, a in arrays.items() if n in _BY_PLACE[side]}
        n = min((k for k in lengths.values() if k), default=None)
        if len(set(lengths.values()) - {0}) > 1 or len({*places.values(), *([] if n is None else [n])}) > 1:
            return f"the arrays of {side} images differ in length ({lengths | places})"
    nearest, reals = arrays.get("nearest_real_fake"), arrays.get("nearest_distance_real")
    if nearest is not None and len(nearest):
        n = len(arrays.get("real_image_digests", ())) or (0 if reals is None else len(reals))
        if nearest.dtype.kind not in "iu" or int(nearest.min()) < 0 or int(nearest.max()) >= n:
            return f"nearest_real_fake has values outside 0 to {n - 1}"
    return None
