"""What has been seen of one side so far: a monoid, as all that it is made of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import msgspec
import numpy as np

from ganeval.digests import SetDigest
from ganeval.distributed import Group
from ganeval.engine.loop import Collected, Kept, Progress, collect, how_to_batch
from ganeval.engine.recall import ReusedSource, reusing
from ganeval.engine.sharding import Order, Own, gathered_rows, summed_moments
from ganeval.errors import InputError, number_of
from ganeval.features.cache import FeatureCache
from ganeval.features.extractor import FeatureExtractor
from ganeval.images.names import left_out
from ganeval.images.summary import impossible_values, listed_sizes
from ganeval.images.types import ImageSource
from ganeval.images.user_models import merged_modes
from ganeval.metrics.types import FeatureSet
from ganeval.parsing.documents import Count, parse_json, typed
from ganeval.protocol import Protocol
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import DEFAULT_MEMORY, FeatureRows

# where features come from: the protocol as it was asked for (its weights are not known yet) and what the metrics call
# the layer of its network: ``features``, ``logits``, ``spatial``
Place = tuple[Protocol, str]

_TWICE = "given by more than one rank (does a DistributedSampler pad?); each counts"


@dataclass(frozen=True, slots=True)
class Need:
    """What the metrics need of one place, on one side."""

    moments: bool
    rows: bool


@dataclass(frozen=True, slots=True)
class Measured:
    """One side, ready for the metrics: its features by network and layer.

    Attributes:
        layers: of the images; of a set of statistics alone, those of the statistics.
        statistics: of the statistics of a set that has images too.
    """

    layers: Mapping[Place, FeatureSet]
    n: int | None
    digest: str | None
    image_digests: np.ndarray
    provenance: Mapping[str, object]
    warnings: tuple[str, ...]
    input_digests: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))  # see ``ImageSource``
    recalled: int = 0  # images that did not have to be decoded
    statistics: Mapping[Place, FeatureSet] = field(default_factory=dict)
    pixels: Mapping[str, int] = field(default_factory=dict)  # see ``ganeval.images.summary``

    def at(self, place: Place, *, statistics: bool) -> FeatureSet | None:
        """The features at one place, of the statistics where they are wanted and there are images too."""
        return (self.statistics if statistics and self.statistics else self.layers).get(place)


def _of_used(labels: list[str] | None, skipped: Sequence[int], used: int) -> list[str] | None:
    """The labels of the images that were used, from those of all of them.

    Args:
        skipped: places of the images that were left out.
        used: number of the others.
    """
    if labels is None or len(labels) != used + len(skipped):
        return labels
    left_out = set(skipped)
    return [label for place, label in enumerate(labels) if place not in left_out]


class _State(msgspec.Struct):
    """What the state of a Tally holds besides arrays."""

    n: Count
    digest: tuple[int, int, int]
    labels: list[str] | None
    notes: dict[str, Count]
    formats: dict[str, Count]
    ignored: dict[str, Count]
    skipped: list[tuple[Count, Count, str, str]]
    sources: list[dict[str, object]]
    blocks: list[tuple[Count, Count, Count]]
    segments: Count
    pixels: dict[str, Count] = {}


class Tally:
    """Moments and rows of one side, at every place that a metric needs, and what was met on the way.

    Args:
        extractors: by protocol; those that ``needs`` does not name do not run.
        needs: by network and layer; the extractor has a tap for each.
        memory: bytes of rows of one place that stay in memory; see ``FeatureRows``.
        expected: images to come, if known.

    Attributes:
        collected: the number of images and their digests.
        labels: one an image; None where some have none.
        inputs: digests of what each image was made of, see ``ImageSource``; None where some are not known.
        notes, formats, ignored, skipped: what was met while images were drawn, as in ``SourceReport``; those skipped
            with (segment, place) before them.
        sources: what the different sources say of themselves.
        recalled: images that the cache knew, so that they were not decoded.
    """

    def __init__(
        self,
        extractors: Mapping[Protocol, FeatureExtractor],
        needs: Mapping[Place, Need],
        *,
        memory: int = DEFAULT_MEMORY,
        expected: int | None = None,
    ) -> None:
        self.extractors, self.needs, self.memory = extractors, needs, memory
        self.kept: dict[Place, Kept] = {}
        for (protocol, layer), need in needs.items():
            extractor = extractors[protocol]
            width = extractor.dimensions[extractor.tap(layer)]
            rows = FeatureRows(width, memory_limit=memory, expected=expected) if need.rows else None
            self.kept[protocol, layer] = Kept(Moments(width) if need.moments else None, rows)
        self.collected = Collected()
        self.labels: list[str] | None = []
        self.inputs: np.ndarray | None = np.empty(0, np.uint64)
        self.notes, self.formats, self.ignored = Counter[str](), Counter[str](), Counter[str]()
        self.pixels = Counter[str]()  # see ``ganeval.images.summary``
        self.skipped: list[tuple[int, int, str, str]] = []
        self.sources: list[dict[str, object]] = []
        self.blocks: list[tuple[int, int, int]] = []  # (segment, block, images), see ``Order``
        self.recalled = 0
        self._segments = 0
        self._failed = False
        self._apart = False  # whether other ranks were given images of their own

    @property
    def n(self) -> int:
        return self.collected.n

    def add(
        self,
        source: ImageSource,
        *,
        call: str = "images",
        group: Group | None = None,
        batch_size: int | None = None,
        workers: int = 0,
        on_error: str = "stop",
        progress: Progress | None = None,
        cache: FeatureCache | None = None,
    ) -> None:
        """One pass over a source.

        Args:
            group: all its ranks opened the same source, and each takes its batches of it; None: this rank takes all.
        """
        self._require_sound()
        networks: dict[Protocol, dict[str, Kept]] = {}
        for (protocol, layer), kept in self.kept.items():
            networks.setdefault(protocol, {})[self.extractors[protocol].tap(layer)] = kept
        extractors = [self.extractors[protocol] for protocol in networks]
        size, prepare = how_to_batch(extractors, batch_size)
        before, self._failed = self.n, True
        self._apart = self._apart or group is None
        given = [(self.extractors[p], list(taps)) for p, taps in networks.items()]
        with reusing(source, given, cache, size) as (source, calls, receivers):
            if group is None or group.size == 1:
                batches = source.batches(size, workers=workers, prepare=prepare, on_error=on_error)
                own, part = None, cast(ImageSource | None, source)
            else:
                own = Own(source, group, size)
                batches = own.batches(call, workers=workers, prepare=prepare, on_error=on_error)
                part = own.part
            collect(
                batches, list(zip(calls, networks.values(), strict=True)), self.collected, receivers=receivers,
                progress=progress,
            )  # fmt: skip
        if isinstance(part, ReusedSource):
            self.recalled += part.recalled
        added = self.n - before
        blocks = own.blocks if own is not None else [(0, added)]
        self.blocks += [(self._segments, block, n) for block, n in blocks]
        labels = _of_used(part.labels(), part.report.skipped_places, added) if part is not None else None
        known = self.labels is not None and labels is not None and len(labels) == added
        self.labels = [*(self.labels or ()), *(labels or ())] if known else None
        inputs = part.input_digests() if part is not None and self.inputs is not None else None
        known = inputs is not None and len(inputs) == added
        self.inputs = np.concatenate([self.inputs, inputs]) if known else None
        report = own.report if own is not None else source.report
        self.notes.update(report.notes)
        self.formats.update(report.formats)
        self.pixels.update(report.pixels)
        if group is None or group.rank == 0:  # every rank has the same of a source that all have opened
            self.ignored.update(source.report.ignored)
        places = own.rows[report.skipped_places] if own is not None and part is not None else range(len(report.skipped))
        self.skipped += [(self._segments, int(at), *pair) for at, pair in zip(places, report.skipped, strict=True)]
        self._segments += 1
        if (described := source.describe()) not in self.sources:
            self.sources.append(described)
        self._failed = False

    def merge(self, other: Tally) -> None:
        """Add what another one has seen; it is left as it is."""
        self._require_sound()
        other._require_sound()
        for place, kept in self.kept.items():
            kept.merge(other.kept[place])
        self.recalled += other.recalled
        self.collected.n += other.collected.n
        self.collected.digest.merge(other.collected.digest)
        self.collected.image_digests += other.collected.image_digests
        self.labels = None if self.labels is None or other.labels is None else [*self.labels, *other.labels]
        known = self.inputs is not None and other.inputs is not None
        self.inputs = np.concatenate([self.inputs, other.inputs]) if known else None
        self.notes.update(other.notes)
        self.formats.update(other.formats)
        self.pixels.update(other.pixels)
        self.ignored.update(other.ignored)
        self.blocks += [(self._segments + segment, block, n) for segment, block, n in other.blocks]
        self.skipped += [(self._segments + segment, *rest) for segment, *rest in other.skipped]  # type: ignore[misc]
        self._segments += other._segments
        self.sources += [one for one in other.sources if one not in self.sources]

    def over(self, group: Group, call: str) -> Tally:
        """What all ranks have seen, the same on every rank and in the order of one process; itself, on one process.

        Moments are added up in float64; rows are gathered a few MB at a time, into a temporary file beyond ``memory``.
        This one is left as it is.
        """
        self._require_sound()
        if group.size == 1:
            return self
        order = Order(group.gather(np.array(self.blocks, np.int64).reshape(-1, 3), f"{call}: batches"))
        whole = Tally(self.extractors, self.needs, memory=self.memory, expected=order.n)
        try:
            for place, kept in self.kept.items():
                moments, what = None, f"{call}: {place[1]} of {place[0].name}"
                if (own := kept.moments) is not None:
                    moments = summed_moments(own, group, what)
                rows = whole.kept[place].rows
                if kept.rows is not None and rows is not None:
                    for block in gathered_rows(kept.rows, order, group, what):
                        rows.append(block)
                whole.kept[place] = Kept(moments, rows)
            digests = group.gather(self.image_digests, f"{call}: digests")
            known = self.inputs is not None
            inputs = group.gather(self.inputs if known else np.empty(0, np.uint64), f"{call}: inputs")  # type: ignore[arg-type]
            counts = [dict(one) for one in (self.notes, self.formats, self.ignored, self.pixels)]
            said = [*counts, self.skipped, self.sources, self.recalled, self.labels, known, self._apart]
            met = group.gather_json(said, f"{call}: reports")
        except BaseException:
            whole.close()
            raise
        whole.collected.n = order.n
        everything = np.concatenate(digests)
        if len(everything) == order.n:
            everything = np.concatenate([everything[:0], *(digests[rank][part] for rank, part in order.runs())])
        whole.collected.digest.update(everything)
        whole.collected.image_digests = [everything] if len(everything) else []
        whole.blocks = [(0, 0, order.n)]
        for notes, formats, ignored, pixels, skipped, sources, recalled, _, _, _ in met:
            whole.recalled += recalled
            whole.notes.update(notes)
            whole.formats.update(formats)
            whole.ignored.update(ignored)
            whole.pixels.update(pixels)
            whole.skipped += [tuple(one) for one in skipped]
            whole.sources += [one for one in sources if one not in whole.sources]
        whole.skipped.sort(key=lambda one: one[:2])
        if all(one[-2] for one in met):
            whole.inputs = np.concatenate([inputs[0][:0], *(inputs[rank][part] for rank, part in order.runs())])
        else:
            whole.inputs = None
        labels = [one[-3] for one in met]
        known = all(one is not None for one in labels)
        whole.labels = [label for rank, part in order.runs() for label in labels[rank][part]] if known else None
        twice = sum(len(np.unique(one)) for one in digests) - len(np.unique(everything))
        if twice and any(one[-1] for one in met):
            whole.notes[_TWICE] = twice
        return whole

    @property
    def image_digests(self) -> np.ndarray:
        """uint64, one an image; empty where the images never left the accelerator."""
        known = self.collected.image_digests
        return np.concatenate(known) if known else np.empty(0, np.uint64)

    def measured(self, side: str) -> Measured:
        """Ready for the metrics."""
        digest = self.collected.digest.hexdigest() if self.collected.digest.count else None
        digests = self.image_digests
        layers = {
            place: FeatureSet(
                n=self.n,
                gaussian=None if (moments := kept.moments) is None else moments.finish(ddof=place[0].ddof),
                rows=kept.rows,
                digest=digest,
                image_digests=digests,
                labels=np.array(self.labels) if self.labels is not None and len(self.labels) == self.n else None,
            )
            for place, kept in self.kept.items()
        }
        provenance = {
            **self.described(), "n": self.n, "digest": digest,
            "skipped": [[name, reason] for _, _, name, reason in self.skipped], "notes": dict(self.notes),
            "formats": dict(self.formats), "ignored": dict(self.ignored), "sizes": listed_sizes(self.pixels, self.n),
        }  # fmt: skip
        inputs = np.empty(0, np.uint64) if self.inputs is None else self.inputs
        return Measured(
            layers, self.n, digest, digests, provenance, self._warnings(side), inputs, self.recalled,
            pixels=self.pixels,
        )  # fmt: skip

    def drop_moments(self) -> None:
        """After ``measured``, which has all that metrics take of them; nothing can be added any more."""
        self.kept = {place: Kept(None, kept.rows) for place, kept in self.kept.items()}

    def described(self) -> dict[str, object]:
        """Where the images come from."""
        if len(self.sources) == 1:
            return self.sources[0]
        specs = list(dict.fromkeys(str(one.get("spec")) for one in self.sources))
        modes = merged_modes(self.sources)
        return {"spec": ", ".join(specs[:3]), "kind": "updates", "sources": len(self.sources), **modes}

    def _warnings(self, side: str) -> tuple[str, ...]:
        warnings = [f"{side}: {number_of(count, 'image')}: {what}" for what, count in sorted(self.notes.items())]
        if self.skipped:
            names = ", ".join(name for _, _, name, _ in self.skipped[:3])
            more = ", ..." if len(self.skipped) > 3 else ""
            warnings.append(f"{side}: {number_of(len(self.skipped), 'unreadable file')} skipped ({names}{more})")
        if (others := left_out(self.ignored)) is not None:
            warnings.append(f"{side}: {others}")
        warnings += [f"{side}: {said}" for said in impossible_values(self.pixels, self._value_range(), self.n)]
        return tuple(warnings)

    def _value_range(self) -> tuple[float, float] | None:
        """The declared one, where all sources have the same: updates of other lengths are other sources."""
        declared = [one.get("value_range") for one in self.sources]
        first = declared[0] if declared else None
        if not isinstance(first, list) or any(one != first for one in declared):
            return None
        return float(first[0]), float(first[1])

    def _require_sound(self) -> None:
        if self._failed:
            raise InputError("an update of these images failed half-way: reset(), and give them all again.")

    def close(self) -> None:
        """Drop the rows and their temporary files."""
        for kept in self.kept.values():
            if kept.rows is not None:
                kept.rows.close()

    # --- what a training loop saves ------------------------------------------------------------------------------

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything, as arrays of numbers."""
        self._require_sound()
        digest = self.collected.digest
        plain = {
            "n": self.n, "digest": [digest.count, digest.xor, digest.total], "labels": self.labels,
            "notes": dict(self.notes), "formats": dict(self.formats), "ignored": dict(self.ignored),
            "pixels": dict(self.pixels), "skipped": self.skipped, "sources": self.sources,
            "blocks": self.blocks, "segments": self._segments,
        }  # fmt: skip
        arrays: dict[str, np.ndarray] = {
            "tally": np.frombuffer(json.dumps(plain).encode(), np.uint8).copy(),
            "digests": self.image_digests.view(np.int64),
        }
        if self.inputs is not None:
            arrays["inputs"] = self.inputs.view(np.int64)
        for i, kept in enumerate(self.kept.values()):
            if kept.settled is not None:
                arrays |= {f"{i}.moments.{name}": array for name, array in kept.settled.to_arrays().items()}
                arrays[f"{i}.waiting"] = kept.waiting
            if kept.rows is not None:
                arrays[f"{i}.rows"] = np.array(kept.rows.to_array())
        return arrays

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add what ``to_arrays`` gave to this one, which has seen nothing yet.

        Raises:
            InputError: it is no such state, or one of other metrics.
        """
        try:
            plain = parse_json(arrays["tally"].tobytes())
            declared = typed(plain, _State)
            for i, (place, kept) in enumerate(self.kept.items()):
                moments, waiting = kept.settled, None
                if moments is not None:
                    start = f"{i}.moments."
                    state = {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
                    moments = Moments.from_arrays(state)
                    if moments.dimension != kept.settled.dimension:  # type: ignore[union-attr]
                        raise ValueError(f"{moments.dimension} features")
                    waiting = arrays[f"{i}.waiting"]
                    if waiting.ndim != 2 or (len(waiting) and waiting.shape[1] != moments.dimension):
                        raise ValueError(f"rows of shape {waiting.shape} that wait for others")
                if kept.rows is not None:
                    kept.rows.append(arrays[f"{i}.rows"])
                self.kept[place] = Kept(moments, kept.rows, waiting)
            digests = arrays["digests"].view(np.uint64)
            self.collected = Collected(declared.n, SetDigest(*declared.digest), [digests] if len(digests) else [])
            self.inputs = arrays["inputs"].view(np.uint64) if "inputs" in arrays else None
            self.labels, self.sources = declared.labels, declared.sources
            self.notes, self.formats = Counter(declared.notes), Counter(declared.formats)
            self.pixels = Counter(declared.pixels)
            self.ignored = Counter(declared.ignored)
            self.skipped, self.blocks, self._segments = declared.skipped, declared.blocks, declared.segments
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"this is no state of an Evaluator of these metrics: {error!r}.") from error
