"""The document of a run in files: its JSON, and beside it one value an image, by which runs can be paired."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganeval.errors import InputError
from ganeval.files import written_whole
from ganeval.results import Evaluation, MetricResult, to_json

if TYPE_CHECKING:
    import numpy as np

_NUMBERS = ("value", "standard_error", "bias", "corrected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run, with its arrays.

    Attributes:
        name: the file, or how else messages call it.
        arrays: one value an image: influences and digests; empty where they are not at hand.
        missing: why there are no arrays.
        unusable: metrics whose entry holds no finite number, and why.
    """

    name: str
    evaluation: Evaluation
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    missing: str | None = None
    unusable: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, evaluation: Evaluation, name: str = "this run") -> Record:
        """A run that was measured just now."""
        return cls(name=name, evaluation=evaluation, arrays=arrays_of(evaluation))

    def result(self, metric: str) -> MetricResult | None:
        return self.evaluation.results.get(metric)


def arrays_of(evaluation: Evaluation) -> dict[str, np.ndarray]:
    sources = (evaluation.per_image, *(r.per_image for r in evaluation.results.values()))
    return {k: v for source in sources for k, v in source.items() if len(v)}


def write_record(
    evaluation: Evaluation,
    target: Path,
    *,
    arrays: Mapping[str, np.ndarray] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Write ``target`` and, where there are arrays, ``TARGET.samples.npz`` beside it; both, or neither.

    Args:
        arrays: None for the evaluation's own.
        more: further keys of the document.

    Returns:
        The evaluation, which now names the file of the arrays.

    Raises:
        InputError: a file cannot be written.
    """
    import numpy as np

    arrays = arrays_of(evaluation) if arrays is None else arrays
    beside = target.with_name(target.name.removesuffix(".json") + ".samples.npz")
    with ExitStack() as stack:  # neither file takes its name before both are written
        if arrays:
            temporary = stack.enter_context(written_whole(beside))
            np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]
            digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
            evaluation = replace(evaluation, samples={"file": beside.name, "sha256": digest})
        else:
            evaluation = replace(evaluation, samples=None)
        document = stack.enter_context(written_whole(target))
        document.write_text(to_json({**evaluation.to_dict(), **(more or {})}) + "\n", encoding="utf-8")
    return evaluation


def read_record(path: str | Path) -> Record:
    """The inverse of ``write_record``, for any document with results that ganeval wrote.

    Arrays are taken only if the file is the one that the document names by its hash. An entry whose number is NaN or
    missing does not stop the others from being read; ``unusable`` names it.

    Raises:
        InputError: no such file, no JSON, or no document with results.
    """
    path = Path(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}. Give a JSON file of ganeval.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}. Give a file that a ganeval command wrote.") from error
    entries = document.get("results") if isinstance(document, dict) else None
    if isinstance(document, dict) and entries is not None and not isinstance(entries, dict):
        raise InputError(f"{path}: results is no table of results.")
    unusable = {name: why for name, entry in (entries or {}).items() if (why := _not_finite(entry)) is not None}
    try:
        if not isinstance(document, dict):
            raise InputError("this is no document of ganeval, but a list or a number.")
        if unusable:
            document = {**document, "results": {k: v for k, v in entries.items() if k not in unusable}}  # type: ignore[union-attr]
        evaluation = Evaluation.from_dict(document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is a damaged ganeval document: {error!r}. Measure it anew.") from error
    arrays, missing = _read_arrays(path, evaluation.samples)
    return Record(name=path.name, evaluation=evaluation, arrays=arrays, missing=missing, unusable=unusable)


def _not_finite(entry: object) -> str | None:
    """Why this entry is no number, where it is otherwise what a result looks like."""
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
    import numpy as np

    if named is None:
        return {}, f"{path.name} was not written with --output, so no values of single images stand beside it"
    file = named.get("file") if isinstance(named, Mapping) else None
    if not isinstance(file, str) or not file or Path(file).name != file:
        return {}, f"{path.name} names no file of single images beside it"
    beside = path.with_name(file)
    try:
        content = beside.read_bytes()
        if hashlib.sha256(content).hexdigest() != named.get("sha256"):
            return {}, f"{file} is not the file that {path.name} was written with: its hash is another"
        with np.load(beside, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}, None
    except FileNotFoundError:
        return {}, f"{file} is not beside {path.name}"
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        return {}, f"{file} cannot be read: {error}"
