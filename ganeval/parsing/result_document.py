"""The document ``ganeval/1``: what a run writes with ``--json`` and ``--output``, and what every other command reads.

Each key is declared here once: its type, and what must hold between keys. Keys that are not declared may come from a
later version, and are ignored. A JSON Schema follows from the declaration (``ganeval.cli.schemas``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from ganeval.parsing.documents import Count, NotNegative, Number, Positive, Share
from ganeval.parsing.layout import SCHEMA_IDS, SchemaName
from ganeval.protocol import Protocol

_MOST_LATENTS = 10**7
LEAVE_ONE_OUT = "leave-one-out"  # the method of an interval of what few images give on average


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval, in the metric's own units.

    Attributes:
        low: lower end.
        high: upper end.
        level: nominal coverage, for instance 0.95.
        method: how it was made, for instance ``influence``.
        estimand: what it covers. ``population``: the distance between the two distributions.
            ``population-given-reference``: the same, the reference taken as the target itself.
            ``protocol``: what this protocol gives on average at this number of images.
            ``protocol-given-reference``: the same, the reference taken as the target itself.
    """

    low: Number
    high: Number
    level: float
    method: str
    estimand: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"an interval needs finite ends, low < high; got {self.low} to {self.high}")
        if not 0 < self.level < 1:
            raise ValueError(f"the level of an interval lies between 0 and 1; got {self.level}")


class Floor(msgspec.Struct, frozen=True, kw_only=True):
    value: Number
    n: tuple[Count, Count]
    interval: tuple[Number, Number] | None = None
    estimand: str | None = None


class Subsets(msgspec.Struct, frozen=True, kw_only=True):
    mean: Number
    std: NotNegative
    subsets: Count
    size: Count


class BySize(msgspec.Struct, frozen=True, kw_only=True):
    """A value at a smaller number of fakes."""

    n: Annotated[int, msgspec.Meta(ge=1, le=2**53)]
    value: Number
    corrected: Number | None = None
    standard_error: NotNegative | None = None
    interval: tuple[Number, Number] | None = None
    estimand: str | None = None


class OfClass(msgspec.Struct, frozen=True, kw_only=True):
    """The value within one class."""

    n_real: Count | None
    n_fake: Count | None
    value: Number | None
    interval: tuple[Number, Number] | None
    corrected: Number | None
    reason: str | None = None
    estimand: str | None = None

    def __post_init__(self) -> None:
        if self.interval is not None and self.interval[0] > self.interval[1]:
            raise ValueError(f"the interval runs from {self.interval[0]} down to {self.interval[1]}")
        if self.interval is not None and self.corrected is None and self.value is None:
            raise ValueError("the interval needs the value that it is around, which is null: corrected or value")


class RelativeTo(msgspec.Struct, frozen=True, kw_only=True):
    """A distance of the fakes, divided by that of held-out reals, at equal numbers of images."""

    n: Count
    fake: Number
    heldout: Number
    value: Number | None
    standard_error: NotNegative | None = None
    interval: tuple[Number, Number] | None
    estimand: str | None = None
    reason: str | None


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of the distance of two distributions: ends of an interval of the level, their estimates and errors."""

    upper: Number
    upper_estimate: Number
    upper_se: NotNegative
    lower: Number | None
    lower_estimate: Number | None
    lower_se: NotNegative | None
    level: Share


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of ``details`` that more than one command reads; each metric has others besides."""

    floor: Floor | None = None
    subsets: Subsets | None = None
    by_size: list[BySize] | None = None
    per_class: dict[str, OfClass] | None = None
    classes_only_in_real: list[str] = []
    classes_only_in_fake: list[str] = []
    relative_to: RelativeTo | None = None
    degrees_of_freedom: Annotated[float, msgspec.Meta(ge=1, le=1e15)] | None = None
    p_value: Share | None = None
    mean_term_share: Number | None = None
    features: Count | None = None
    bounds: Bounds | None = None
    calibrated: Number | None = None
    calibrated_se: NotNegative | None = None
    kappa: Number | None = None
    kappa_se: NotNegative | None = None
    kappa_source: Literal["rows", "gaussian"] | None = None
    unit: str = "fake"
    quantiles: dict[str, Number] | None = None
    kind: str | None = None
    effective_n: Positive | None = None


class ReasonCode(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no interval, for programs; other keys are numbers that belong to it."""

    code: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of ``results``: the value of a metric."""

    label: str
    value: Number
    higher_is_better: bool | None
    n_real: Count | None
    n_fake: Count | None
    protocol: Protocol
    standard_error: Positive | None = None
    bias: Number | None = None
    corrected: Number | None = None
    interval: Interval | None = None
    reason: str | None = None
    reason_code: ReasonCode | None = None
    warnings: list[str] = []
    reference: str | None = None
    settings: dict[str, Any] = {}
    details: Details = msgspec.field(default_factory=Details)


class Subset(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a set that was measured: ``n`` of ``of`` images drawn with ``seed``, or a shard of ``whole``."""

    n: Count | None = None
    of: Count | None = None
    seed: int = 0
    shard: Count = 0
    first: Count = 0
    whole: ImageSet | None = None

    def __post_init__(self) -> None:
        if self.whole is not None and (self.n is None or self.of is None or self.whole.n is None):
            raise ValueError("a shard needs whole numbers n, of, and whole.n")


class ImageSet(msgspec.Struct, frozen=True, kw_only=True):
    """Where images come from: ``real``, ``fake`` or ``test``; also the ``source`` of statistics.

    For a file with images and statistics, these keys describe the part that was measured; ``images`` or ``statistics``
    describes the other part.
    """

    spec: str | None = None
    kind: str | None = None
    n: Count | None = None
    digest: str | None = None
    subset: Subset | None = None
    seed: int | None = None
    skipped: list[tuple[str, str]] = []
    formats: dict[str, Count] = {}
    notes: dict[str, Count] | str | None = None
    ignored: dict[str, Count] = {}
    sizes: dict[str, Count] | None = None
    value_range: tuple[Number, Number] | None = None
    latents: list[Count] | str | None = None
    num_classes: Count | None = None
    label_distribution: str | None = None
    class_frequencies: list[NotNegative] | None = None
    prompts: Count | None = None
    prompts_sha256: str | None = None
    keep_mode: bool = False
    set_to_evaluation: list[str] = []
    training_elsewhere: list[str] = []
    image_column: str | None = None
    source: ImageSet | None = None
    images: ImageSet | None = None
    statistics: ImageSet | None = None
    parts: list[ImageSet] = []

    def __post_init__(self) -> None:
        if isinstance(self.latents, list) and math.prod(self.latents) > _MOST_LATENTS:
            raise ValueError(f"latents of shape {self.latents} have more than {_MOST_LATENTS} numbers")
        if self.num_classes is not None and self.num_classes > _MOST_LATENTS:
            raise ValueError(f"num_classes is {self.num_classes}; expected at most {_MOST_LATENTS}")


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and the versions."""

    versions: dict[str, str | None] = {}
    device: str | None = None
    commit: str | None = None


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """The file of values of single images, next to the document."""

    file: str
    sha256: str


class OutputError(msgspec.Struct, frozen=True, kw_only=True):
    """A file that could not be written after the measurement."""

    path: str
    message: str


SchemaId = Annotated[str, msgspec.Meta(pattern=f"^{SCHEMA_IDS['result']}$")]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """What each document begins with; ``$schema`` may be missing, as in documents of early versions."""

    schema_id: SchemaId = msgspec.field(name="$schema", default=SCHEMA_IDS["result"])
    schema: SchemaName


class RunDocument(Document, frozen=True, kw_only=True):
    """A run with results."""

    results: dict[str, Entry]
    real: ImageSet | None
    fake: ImageSet
    environment: Environment
    warnings: list[str]
    elapsed_seconds: NotNegative
    samples: Samples | None
    protocols: list[Protocol] = []
    test: ImageSet | None = None
    heldout: ImageSet | None = None
    notes: list[str] = []
    output_errors: list[OutputError] = []


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    message: str


class FailureDocument(Document, frozen=True, kw_only=True):
    """A run without a result."""

    error: Failure
