"""What stands between images and rows of features: a network, or a transform without weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol as Interface

import torch
from torch import Tensor

from ganeval.images.resize import PillowResize
from ganeval.images.types import ImageBatch
from ganeval.protocol import Protocol


class Extractor(Interface):
    """``ganeval.features.extractor.FeatureExtractor`` says what each of these is."""

    device: torch.device
    prepare: PillowResize | None
    batch_size: int
    compiled: bool
    from_file: bool

    @property
    def protocol(self) -> Protocol: ...

    @property
    def dimensions(self) -> Mapping[str, int]:
        """Width of every tap, of those that are known before the first image."""

    @property
    def compiled_for_nothing(self) -> bool: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...

    def tap(self, layer: str) -> str: ...

    def release(self) -> None: ...

    def __call__(self, batch: ImageBatch, /) -> dict[str, Tensor]: ...
