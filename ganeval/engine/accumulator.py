"""What has been seen of one image set so far: moments, rows and what was met on the way. Every part is a monoid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from ganeval.digests import SetDigest
from ganeval.errors import InputError, number_of
from ganeval.features.interface import Extractor
from ganeval.images.grouping import UNKNOWN, Grouping, incomplete
from ganeval.images.names import ignored_files_text
from ganeval.images.summary import impossible_values, listed_sizes
from ganeval.images.types import SourceReport
from ganeval.images.user_models import merge_modes
from ganeval.metrics.types import FeatureSet
from ganeval.parsing.documents import Count, parse_json, typed
from ganeval.protocol import Protocol
from ganeval.statistics.moments import Moments, as_rows
from ganeval.statistics.rows import DEFAULT_MEMORY, FeatureRows

# where features come from: the protocol as the run names it (its weights are not known yet) and what the metrics call
# the layer of its network: ``features``, ``logits``, ``spatial``
FeatureKey = tuple[Protocol, str]

_BLOCK = 256  # rows


@dataclass(frozen=True, slots=True)
class Requirement:
    """What the metrics need of one layer of one image set."""

    moments: bool
    rows: bool


@dataclass(frozen=True, slots=True)
class SetFeatures:
    """One image set, ready for the metrics: its features by network and layer.

    Attributes:
        layers: of the images; of a set of statistics alone, those of the statistics.
        statistics: of the statistics of a set that has images too.
        input_digests: of what each image was made of, see ``ImageSource``.
        recalled: images that did not have to be decoded.
        pixels: see ``ganeval.images.summary``.
    """

    layers: Mapping[FeatureKey, FeatureSet]
    n: int | None
    digest: str | None
    image_digests: np.ndarray
    provenance: Mapping[str, object]
    warnings: tuple[str, ...] = ()
    input_digests: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    recalled: int = 0
    statistics: Mapping[FeatureKey, FeatureSet] = field(default_factory=dict)
    pixels: Mapping[str, int] = field(default_factory=dict)

    def at(self, key: FeatureKey, *, statistics: bool) -> FeatureSet | None:
        """The features of one layer, of the statistics where they are wanted and there are images too."""
        return (self.statistics if statistics and self.statistics else self.layers).get(key)


class LayerAccumulator:
    """What is kept of one layer of a network: its moments, its rows, or both.

    Moments take 256 rows at a time, however the rows come: the same to the bit for every batch size, and cheaper (of
    8 rows, the d x d sums cost memory traffic alone). Pending rows are counted whenever moments are asked for.

    Args:
        moments: None if they are not needed.
        rows: None if they are not needed.
        pending: (b, d) float32, rows that belong to the moments and are not in them yet.
    """

    def __init__(self, moments: Moments | None, rows: FeatureRows | None, pending: np.ndarray | None = None) -> None:
        self.settled, self.rows = moments, rows  # moments without the pending rows
        self._pending = [] if pending is None or not len(pending) else [pending]
        self._names: list[str] = [""] * sum(map(len, self._pending))

    @property
    def moments(self) -> Moments | None:
        """Of all rows so far; asking changes nothing."""
        if self.settled is None or not self._names:
            return self.settled
        whole = Moments.from_arrays(self.settled.to_arrays())
        whole.update(self.pending, names=self._names)
        return whole

    @property
    def pending(self) -> np.ndarray:
        return np.concatenate(self._pending) if self._pending else np.empty((0, 0), np.float32)

    def update(self, block: np.ndarray, names: Sequence[str]) -> None:
        """Args: block: (b, d) float32. Raises InputError, which names the image, where it has NaN or infinity."""
        if self.settled is not None:
            first = self.settled.n + len(self._names)
            block = as_rows(block, self.settled.dimension, first=first, names=names)
            start = 0
            while start < len(block):
                stop = min(len(block), start + _BLOCK - len(self._names))
                self._pending.append(block[start:stop].copy())
                self._names += names[start:stop]
                start = stop
                if len(self._names) == _BLOCK:
                    self._settle()
        if self.rows is not None:
            self.rows.append(block)

    def merge(self, other: LayerAccumulator) -> None:
        """Add what another one has seen; it is left as it is."""
        if self.settled is not None and (theirs := other.moments) is not None:
            self._settle()
            self.settled.merge(theirs)
        if self.rows is not None and other.rows is not None:
            for block in other.rows.blocks():
                self.rows.append(block)

    def _settle(self) -> None:
        if self.settled is not None and self._names:
            self.settled.update(self.pending, names=self._names)
            self._pending, self._names = [], []

    def to_arrays(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        if self.settled is not None:
            arrays = {f"moments.{name}": array for name, array in self.settled.to_arrays().items()}
            arrays["waiting"] = self.pending
        if self.rows is not None:
            arrays["rows"] = np.array(self.rows.to_array())
        return arrays

    def loaded(self, arrays: Mapping[str, np.ndarray]) -> LayerAccumulator:
        """One that holds what ``to_arrays`` gave; raises KeyError or ValueError for anything else."""
        moments, pending = self.settled, None
        if moments is not None:
            state = {k.removeprefix("moments."): v for k, v in arrays.items() if k.startswith("moments.")}
            loaded = Moments.from_arrays(state)
            if loaded.dimension != moments.dimension:
                raise ValueError(f"{loaded.dimension} features")
            moments, pending = loaded, arrays["waiting"]
            if pending.ndim != 2 or (len(pending) and pending.shape[1] != moments.dimension):
                raise ValueError(f"pending rows of shape {pending.shape}")
        if self.rows is not None:
            self.rows.append(arrays["rows"])
        return LayerAccumulator(moments, self.rows, pending)


class SetLog(msgspec.Struct, kw_only=True):
    """What was met while an image set was read.

    Attributes:
        labels: one an image; None where some have none.
        notes, formats, ignored, pixels: counts, as in ``SourceReport``.
        skipped: (segment, place, name, reason); a segment is one source.
        sources: what the different sources describe themselves as.
        blocks: (segment, block, images), see ``ganeval.engine.sharding.Order``.
        recalled: images that the cache knew, so that they were not decoded.
    """

    labels: list[str] | None = []
    notes: dict[str, Count] = {}
    formats: dict[str, Count] = {}
    ignored: dict[str, Count] = {}
    pixels: dict[str, Count] = {}
    skipped: list[tuple[Count, Count, str, str]] = []
    sources: list[dict[str, object]] = []
    blocks: list[tuple[Count, Count, Count]] = []
    segments: Count = 0
    recalled: Count = 0

    def add_counts(self, other: SetLog | SourceReport, *kinds: str) -> None:
        """Add the counts of these kinds, by default all."""
        for kind in kinds or ("notes", "formats", "pixels", "ignored"):
            total = Counter(getattr(self, kind))
            total.update(getattr(other, kind))
            setattr(self, kind, dict(total))

    def add_sources(self, sources: Sequence[dict[str, object]]) -> None:
        self.sources += [one for one in sources if one not in self.sources]

    def merge(self, other: SetLog) -> None:
        """Add what another one has met after this one."""
        self.labels = None if self.labels is None or other.labels is None else [*self.labels, *other.labels]
        self.add_counts(other)
        self.add_sources(other.sources)
        self.blocks += [(self.segments + segment, block, n) for segment, block, n in other.blocks]
        self.skipped += [(self.segments + segment, *rest) for segment, *rest in other.skipped]  # type: ignore[misc]
        self.segments += other.segments
        self.recalled += other.recalled


class _State(SetLog, kw_only=True):
    """The state of a ``SetAccumulator`` besides its arrays."""

    n: Count
    digest: tuple[int, int, int]


class SetAccumulator:
    """Moments and rows of one image set, for every layer that a metric needs, and what was met on the way.

    Args:
        extractors: by protocol; those that ``requirements`` does not name do not run.
        requirements: by network and layer; the extractor has a tap for each.
        memory: bytes of rows of one layer that stay in memory; see ``FeatureRows``.
        expected: images to come, if known.
        grouping: which images belong together.

    Attributes:
        n: images that went through the networks.
        digest: of the images, where they could be read on the host.
        inputs: digests of what each image was made of, see ``ImageSource``; None where some are not known.
        failed: whether an update broke off half-way.
        separate: whether other ranks were given images of their own.
    """

    def __init__(
        self,
        extractors: Mapping[Protocol, Extractor],
        requirements: Mapping[FeatureKey, Requirement],
        *,
        memory: int = DEFAULT_MEMORY,
        expected: int | None = None,
        grouping: Grouping | None = None,
    ) -> None:
        self.extractors, self.requirements, self.memory = extractors, requirements, memory
        self.layers: dict[FeatureKey, LayerAccumulator] = {}
        for (protocol, layer), needed in requirements.items():
            extractor = extractors[protocol]
            width = extractor.dimensions.get(extractor.tap(layer))
            rows = FeatureRows(width, memory_limit=memory, expected=expected) if needed.rows else None
            moments = Moments(width) if needed.moments and width else None
            self.layers[protocol, layer] = LayerAccumulator(moments, rows)
        self.n, self.digest, self.log = 0, SetDigest(), SetLog()
        self.inputs: np.ndarray | None = np.empty(0, np.uint64)
        self._digests: list[np.ndarray] = []
        self.grouping, self._groups = grouping, list[np.ndarray]()
        self.failed = self.separate = False

    def update(self, n: int, digests: np.ndarray | None, groups: np.ndarray | None = None) -> None:
        """Count images whose rows were added to the layers.

        Args:
            digests: (n,) uint64; None where the images never left the accelerator.
            groups: (n,) uint64, the ids of their groups, where there is a grouping.
        """
        self.n += n
        if groups is not None:
            self._groups.append(groups)
        if digests is not None and len(digests):
            self.digest.update(digests)
            self._digests.append(digests)

    def add_inputs(self, inputs: np.ndarray | None) -> None:
        known = None if inputs is None or self.inputs is None else np.concatenate([self.inputs, inputs])
        self.inputs = known

    @property
    def image_digests(self) -> np.ndarray:
        """uint64, one an image; empty where the images never left the accelerator."""
        return np.concatenate(self._digests) if self._digests else np.empty(0, np.uint64)

    @property
    def groups(self) -> np.ndarray:
        """uint64, the id of every image's group; empty without a grouping."""
        return np.concatenate(self._groups) if self._groups else np.empty(0, np.uint64)

    def merge(self, other: SetAccumulator) -> None:
        """Add what another one has seen; it is left as it is."""
        self.require_complete()
        other.require_complete()
        for key, layer in self.layers.items():
            layer.merge(other.layers[key])
        self.n += other.n
        self.digest.merge(other.digest)
        self._digests += other._digests
        self._groups += other._groups
        self.add_inputs(other.inputs)
        self.log.merge(other.log)

    def finish(self, name: str) -> SetFeatures:
        """Ready for the metrics.

        Args:
            name: of the image set, for warnings.
        """
        digest = self.digest.hexdigest() if self.digest.count else None
        digests, log = self.image_digests, self.log
        groups = self._known_groups(name)
        labels = np.array(log.labels) if log.labels is not None and len(log.labels) == self.n else None
        layers = {
            key: FeatureSet(
                n=self.n,
                gaussian=None if (moments := layer.moments) is None else moments.finish(ddof=key[0].ddof),
                rows=layer.rows,
                digest=digest,
                image_digests=digests,
                labels=labels,
                groups=groups,
            )
            for key, layer in self.layers.items()
        }
        provenance = {
            **self.described(),
            "n": self.n,
            "digest": digest,
            "skipped": [[name, reason] for _, _, name, reason in log.skipped],
            **{kind: dict(getattr(log, kind)) for kind in ("notes", "formats", "ignored")},
            "sizes": listed_sizes(log.pixels, self.n),
        }
        if groups is not None and self.grouping is not None:
            provenance["groups"] = {"by": self.grouping.by, "n": int(np.unique(groups).size)}
        inputs = np.empty(0, np.uint64) if self.inputs is None else self.inputs
        return SetFeatures(
            layers, self.n, digest, digests, provenance, self._warnings(name), inputs, log.recalled, pixels=log.pixels
        )

    def _known_groups(self, name: str) -> np.ndarray | None:
        """The group of every image; None where no image has one.

        Raises:
            InputError: some have one and others have none.
        """
        groups = self.groups
        lacking = int((groups == UNKNOWN).sum())
        if self.grouping is None or not len(groups) or lacking == len(groups):
            return None
        if lacking or len(groups) != self.n:
            raise InputError(incomplete(self.grouping.by, f"the {name} images", lacking, self.n))
        return groups

    def drop_moments(self) -> None:
        """After ``finish``, which has all that metrics take of them; nothing can be added any more."""
        self.layers = {key: LayerAccumulator(None, layer.rows) for key, layer in self.layers.items()}

    def described(self) -> dict[str, object]:
        """Where the images come from."""
        sources = self.log.sources
        if len(sources) == 1:
            return sources[0]
        specs = list(dict.fromkeys(str(one.get("spec")) for one in sources))
        return {"spec": ", ".join(specs[:3]), "kind": "updates", "sources": len(sources), **merge_modes(sources)}

    def _warnings(self, name: str) -> tuple[str, ...]:
        log = self.log
        warnings = [f"{number_of(count, 'image')}: {what}" for what, count in sorted(log.notes.items())]
        if log.skipped:
            names = ", ".join(name for _, _, name, _ in log.skipped[:3])
            more = ", ..." if len(log.skipped) > 3 else ""
            warnings.append(f"{number_of(len(log.skipped), 'unreadable file')} skipped ({names}{more})")
        if (others := ignored_files_text(log.ignored)) is not None:
            warnings.append(others)
        warnings += impossible_values(log.pixels, self._value_range(), self.n)
        return tuple(f"{name}: {text}" for text in warnings)

    def _value_range(self) -> tuple[float, float] | None:
        """The declared one, where all sources have the same: updates of other lengths are other sources."""
        declared = [one.get("value_range") for one in self.log.sources]
        first = declared[0] if declared else None
        if not isinstance(first, list) or any(one != first for one in declared):
            return None
        return float(first[0]), float(first[1])

    def require_complete(self) -> None:
        if self.failed:
            raise InputError("An earlier update of these images failed half-way. Call reset(), and give them again.")

    def close(self) -> None:
        """Drop the rows and their temporary files."""
        for layer in self.layers.values():
            if layer.rows is not None:
                layer.rows.close()

    # --- what a training loop saves ------------------------------------------------------------------------------

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Everything, as arrays of numbers."""
        self.require_complete()
        digest = (self.digest.count, self.digest.xor, self.digest.total)
        state = _State(n=self.n, digest=digest, **msgspec.structs.asdict(self.log))
        arrays: dict[str, np.ndarray] = {
            "log": np.frombuffer(msgspec.json.encode(state), np.uint8).copy(),
            "digests": self.image_digests.view(np.int64),
        }
        if self._groups:
            arrays["groups"] = self.groups.view(np.int64)
        if self.inputs is not None:
            arrays["inputs"] = self.inputs.view(np.int64)
        for i, layer in enumerate(self.layers.values()):
            arrays |= {f"{i}.{name}": array for name, array in layer.to_arrays().items()}
        return arrays

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Add what ``to_arrays`` gave to this one, which has seen nothing yet.

        Raises:
            InputError: it is no such state, or one of other metrics.
        """
        try:
            state = typed(parse_json(arrays["log"].tobytes()), _State)
            for i, (key, layer) in enumerate(self.layers.items()):
                start = f"{i}."
                own = {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}
                self.layers[key] = layer.loaded(own)
            digests = arrays["digests"].view(np.uint64)
            self.n, self.digest, self._digests = state.n, SetDigest(*state.digest), [digests] if len(digests) else []
            self._groups = [arrays["groups"].view(np.uint64)] if "groups" in arrays else []
            self.inputs = arrays["inputs"].view(np.uint64) if "inputs" in arrays else None
            names = msgspec.structs.fields(SetLog)
            self.log = SetLog(**{one.name: getattr(state, one.name) for one in names})
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"This is not a state of an Evaluator of these metrics: {error!r}.") from error
