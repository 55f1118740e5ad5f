"""The options of the public calls, for editors and type checkers: written by scripts/write_signatures.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from ganeval.engine.config import ProgressFactory
    from ganeval.features.cache import FeatureCache
    from ganeval.features.custom import CustomNetwork
    from ganeval.images.options import LikeReal
    from ganeval.parsing.arguments import Device
    from ganeval.protocol import Protocol as FeatureProtocol


class NetworkOptions(TypedDict, total=False):
    num_samples: int | None
    value_range: tuple[float, float] | None
    clamp: bool
    data_root: str | Path | None
    download: bool
    seed: int
    any_suffix: bool
    image_column: str | None
    label_column: str | None
    caption_column: str | None
    max_image_bytes: int
    latent_dim: int | tuple[int, ...] | None
    num_classes: int | None
    label_distribution: str | LikeReal | None
    labels: str | Path | Sequence[int] | None
    prompts: str | Path | Sequence[str] | None
    keep_mode: bool
    device: Device
    prepare: str | None
    on_error: str
    batch_size: int | None
    workers: int | None
    feature_memory: int
    progress: ProgressFactory | None
    cache: bool | str | Path | FeatureCache | None
    protocol: str | FeatureProtocol | CustomNetwork
    weights: str | Path | Mapping[str, str | Path] | None
    precision: str | None
    compile: bool


class EvaluatorOptions(NetworkOptions, total=False):
    metrics: Sequence[str] | None
    test: object
    level: float
    num_real: int | None
    prepare_real: str | None
    prepare_fake: str | None
    labels_real: str | Path | None
    labels_fake: str | Path | None
    group_by: str | Path | None
    assume_protocol: bool
    sync: bool
    trace: str
    floor: bool
    splits: int | None
    kid_kernel: str
    kid_subsets: tuple[int, int] | None
    neighbours: int | None
    strict: bool | None
    radius: float | None
    rarity: bool
    mifid_threshold: float
    directions: int
    vendi_order: str
    ken_eta: float
    wavelet_level: int
    per_class: bool
    cmmd_sigma: float
    pairs: int | None
    space: str
    sampling: str
    epsilon: float
    crop: bool
    resize: int | None
    trim: bool
    unit: bool
    distance: object


class EvaluationOptions(EvaluatorOptions, total=False):
    relative_to: object
    reference: str | None
    num_fake: int | None
    single_images: bool
    features: bool
    features_name: str | None


class StatisticsOptions(NetworkOptions, total=False):
    num: int | None
    shard: tuple[int, int] | None
    rows: bool
    table: bool
    sample_rows: int | None
    note: str | None
