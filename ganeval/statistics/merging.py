"""Statistics of disjoint shares of images become the statistics of all of them; shares that count twice are found.

Parts are taken one after another, so that a thousand of them need no more memory than one, but for 8 bytes an image.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from ganeval.digests import SetDigest
from ganeval.errors import IncomparableError, InputError, number_of
from ganeval.statistics import reference
from ganeval.statistics.moments import Gaussian
from ganeval.statistics.reference import Statistics, sampled_digests
from ganeval.statistics.rows import sampled_rows

_MISSING = "images are in none of these shards:"
MAX_COMPARED = 64 * 10**6  # digests that are compared at once, 512 MB; of more the smallest


def merge_statistics(parts: Iterable[Statistics], *, assume_protocol: bool = False) -> Statistics:
    """The statistics of all the parts' images together, exactly: M = M_1 + M_2 + d d^T n_1 n_2 / n (Chan et al. 1983).

    An image that is in two parts would count twice. Where the parts keep their images' digests, that is an error; of
    more than ``MAX_DIGESTS`` images a part keeps the smallest digests, in which m images that are in both of two parts
    of n leave a trace with probability 1 - exp(-m MAX_DIGESTS / n). Where digests are not known (images that never left
    an accelerator), shards of one set must not overlap by their numbers, and a warning in the result's provenance says
    what could not be checked.

    Args:
        parts: two or more; read one after another.
        assume_protocol: take parts that do not say how they were made as made alike.

    Raises:
        IncomparableError: other protocols or ddof (the differing fields are named), or protocols that are not known.
        InputError: no parts, a part whose n is not known, images that are in two parts.
    """
    seen: list[_Part] = []
    first: Statistics | None = None
    sums, spatial, with_spatial, n, ddof = _Sums(), _Sums(), 0, 0, 1
    others: dict[str, list[np.ndarray]] = {}
    rows: list[np.ndarray] = []
    drawn: list[tuple[int, np.ndarray]] = []  # samples of rows, with the number of images that each stands for
    digests: list[np.ndarray] = []  # while they are few enough to be kept
    whole = SetDigest()  # of all, however they were cut
    for part in parts:
        if first is None:
            first, ddof = part, part.gaussian().ddof
        count = _require_alike(first, part, assume_protocol)
        sums.add(part.gaussian(), count, n)
        if (places := part.spatial_gaussian()) is not None:
            with_spatial += 1
            if with_spatial > len(seen):  # all parts so far have it
                spatial.add(places, count, n)
        n += count
        for name, more in part.other_rows.items():
            others.setdefault(name, []).append(more)
        if part.rows is not None:
            rows.append(part.rows)
        if part.row_sample is not None:
            drawn.append((count, part.row_sample))
        if part.digests is not None:
            whole.update(part.digests)
            digests = [*digests, part.digests] if n <= reference.MAX_DIGESTS else []
        seen.append(_Part(part.spec, part.meta or {}, part.warnings, part.digests is not None, sampled_digests(part)))
    if first is None:
        raise InputError("there is nothing to merge; give the files of two or more statistics.")
    unchecked = _require_no_overlap(seen)
    whole_rows = {name: np.concatenate(several) for name, several in others.items() if len(several) == len(seen)}
    lost = [name for name in others if name not in whole_rows]
    lost += ["sFID"] if 0 < with_spatial < len(seen) else []
    complete = all(p.complete for p in seen)
    few = complete and n <= reference.MAX_DIGESTS
    samples = [p.sample for p in seen if p.sample is not None]
    return Statistics(
        mean=sums.mean,
        covariance=sums.scatter / (n - ddof),
        n=n,
        ddof=ddof,
        meta=_merged_meta(seen, n, unchecked, lost, whole.hexdigest() if complete else None),
        rows=np.concatenate(rows) if len(rows) == len(seen) else None,
        row_sample=_even_sample(drawn) if len(drawn) == len(seen) else None,
        digests=np.concatenate(digests) if few else None,
        digest_sample=np.sort(np.concatenate(samples))[: reference.MAX_DIGESTS]
        if len(samples) == len(seen) and not few
        else None,
        spatial=(spatial.mean, spatial.scatter / (n - ddof)) if with_spatial == len(seen) else None,
        other_rows=whole_rows,
    )


class _Sums:
    """Mean and scatter matrix of one layer, over the parts so far."""

    def __init__(self) -> None:
        self.mean, self.scatter = np.zeros(0), np.zeros((0, 0))

    def add(self, gaussian: Gaussian, count: int, before: int) -> None:
        """Args: count: images of the part. before: images of the parts before it."""
        if before == 0:
            self.mean, self.scatter = np.zeros_like(gaussian.mean), np.zeros_like(gaussian.covariance)
        delta, total = gaussian.mean - self.mean, before + count
        self.scatter += gaussian.covariance * (count - gaussian.ddof) + np.outer(delta, delta) * (
            before * count / total
        )
        self.mean = self.mean + delta * (count / total)


def _even_sample(drawn: Sequence[tuple[int, np.ndarray]]) -> np.ndarray:
    """Of each share the same fraction of its images."""
    fraction = min(len(rows) / n for n, rows in drawn)
    kept = [rows[sampled_rows(len(rows), max(1, int(fraction * n)))] for n, rows in drawn]
    return np.concatenate(kept)


@dataclass(frozen=True, slots=True)
class _Part:
    """What is remembered of a part once its moments have been added."""

    spec: str
    meta: Mapping[str, Any]
    warnings: tuple[str, ...]
    complete: bool  # whether the digests of all its images were known
    sample: np.ndarray | None
    shards: list[Mapping[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shards", list(_shards(self.meta.get("source") or {})))


def _require_alike(first: Statistics, part: Statistics, assume_protocol: bool) -> int:
    """The number of images of a part that can be added to the first."""
    if part.n is None:
        raise InputError(f"{part.spec} does not say of how many images it is, so it cannot be merged. Build it again.")
    sizes = {one.spatial[0].size for one in (first, part) if one.spatial is not None}
    if len(sizes) > 1:
        raise IncomparableError(
            f"{first.spec} and {part.spec} hold statistics for sFID of {' and '.join(map(str, sizes))} features: build "
            "both under one protocol."
        )
    for name in set(first.other_rows) & set(part.other_rows):
        one, other = first.network(name), part.network(name)
        assert one is not None
        assert other is not None
        one.require_same(other, f"the features of {name} in {first.spec} and {part.spec}")
    if part.gaussian().ddof != first.gaussian().ddof or part.mean.shape != first.mean.shape:
        raise IncomparableError(
            f"{first.spec} ({first.mean.size} features, ddof {first.gaussian().ddof}) and {part.spec} "
            f"({part.mean.size} features, ddof {part.gaussian().ddof}) do not merge: build both under one protocol."
        )
    if first.protocol is not None and part.protocol is not None:
        first.protocol.require_same(part.protocol, f"the statistics in {first.spec} and {part.spec}")
    elif not assume_protocol:
        unknown = first if first.protocol is None else part
        raise IncomparableError(
            f"{unknown.spec} does not say under which protocol it was made, so it cannot be merged."
        )
    return part.n


def _require_no_overlap(parts: list[_Part]) -> list[str]:
    """The specs of the parts that could not be checked."""
    known = [(part.spec, part.sample) for part in parts if part.sample is not None]
    whole = all(part.complete for part in parts)
    if sum(len(sample) for _, sample in known) > MAX_COMPARED:
        known = [(spec, sample[: MAX_COMPARED // len(known)]) for spec, sample in known]
        whole = False
    if len(known) > 1:
        everything = np.sort(np.concatenate([np.unique(sample) for _, sample in known]))
        twice = np.unique(everything[1:][everything[1:] == everything[:-1]])
        if len(twice):
            (a, _), (b, _) = [(spec, sample) for spec, sample in known if np.isin(twice[0], sample)][:2]
            both = [np.isin(twice, sample) for spec, sample in known if np.isin(twice[0], sample)][:2]
            count = int((both[0] & both[1]).sum())
            least, images = "" if whole else "at least ", number_of(count, "image is", "images are")
            raise InputError(
                f"{least}{images} in both {a} and {b}, and would count twice. Merge statistics of sets "
                "that have no image in common."
            )
    for one, other in combinations([part for part in parts if part.shards], 2):
        for x in one.shards:
            for y in other.shards:
                _require_apart(one.spec, x, other.spec, y)
    return [part.spec for part in parts if part.sample is None]


def _require_apart(one: str, x: Mapping[str, Any], other: str, y: Mapping[str, Any]) -> None:
    """Shards of one set by their numbers: what also holds where images have no digests."""
    if x["whole"] == y["whole"] and x["first"] < y["first"] + y["n"] and y["first"] < x["first"] + x["n"]:
        raise InputError(
            f"{one} and {other} hold shards {x['shard']}/{x['of']} and {y['shard']}/{y['of']} of the same "
            f"{x['whole'].get('spec')}, which overlap: images would count twice. Merge every shard once."
        )


def _shards(source: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The shards that a part is made of, however often it was merged."""
    subset = source.get("subset")
    if isinstance(subset, Mapping) and {"shard", "of", "first", "n", "whole"} <= set(subset):
        yield subset
    for part in source.get("parts") or ():
        yield from _shards(part)


def _missing(parts: list[_Part]) -> list[str]:
    """Where parts are shards of one set, which of its images are in none of them."""
    shards = [shard for part in parts for shard in part.shards]
    notes = []
    for whole in {str(shard["whole"]): shard["whole"] for shard in shards}.values():
        mine = sorted((s["first"], s["n"]) for s in shards if s["whole"] == whole)
        have = sum(n for _, n in mine)
        if have < whole["n"]:
            gap = 0
            for first, count in mine:
                gap = first + count if first == gap else gap
            held = f"{whole.get('spec')} has {whole['n']}"
            notes.append(f"{whole['n'] - have} {_MISSING} {held}, the first missing is number {gap}")
    return notes


def _merged_meta(
    parts: list[_Part], n: int, unchecked: list[str], lost: list[str], digest: str | None
) -> dict[str, Any]:
    warnings = dict.fromkeys(w for part in parts for w in part.warnings if _MISSING not in w)
    if unchecked:
        names = ", ".join(unchecked)
        warnings[f"merged without a check for images that count twice: no image digests in {names}"] = None
    if lost:
        warnings[f"left out, because not all merged files have it: what was kept for {', '.join(lost)}"] = None
    warnings |= dict.fromkeys(_missing(parts))
    meta: dict[str, Any] = dict(parts[0].meta)
    meta["source"] = {"kind": "merged", "n": n, "parts": [dict(p.meta.get("source") or {}) for p in parts]}
    if digest is not None:
        meta["source"]["digest"] = digest
    meta["warnings"] = list(warnings)
    return meta
