"""The metrics of this package on a generator in training, against a reference that is measured once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganeval.errors import IncomparableError
from ganeval.evaluate import build_statistics, evaluate
from ganeval.protocol import get_protocol
from ganeval.statistics.reference import Statistics, is_statistics, load_reference
from ganeval.training.loop import random_for

_MOST = 10_000  # images of the training data that stand for all of them


class Judge:
    """``evaluate`` with a fixed reference.

    Args:
        reference: statistics (a file, or ``stats:NAME``) or images; None for the training images, of which at most
            10 000 are taken, drawn by the seed.
        images: the training images, uint8 (N, C, H, W).
        protocol: of all metrics.
        metrics: their names.
        device: where the protocol's network runs.
        seed: of latents and of the subset.

    Attributes:
        protocol_key: what the numbers may be compared with, once there are any.
    """

    def __init__(
        self, reference: Any, images: Tensor, *, protocol: str = "compact", metrics: Sequence[str] = ("fid",),
        device: str = "auto", seed: int = 0,
    ) -> None:  # fmt: skip
        self.protocol, self.metrics, self.device, self.seed = get_protocol(protocol), tuple(metrics), device, seed
        self._reference, self._images = reference, images
        self._measured: object | None = None
        self.protocol_key: str | None = None

    def __call__(self, fake: object, **options: Any) -> dict[str, object]:
        """The results on ``fake`` as one flat dictionary: ``fd``, ``fd_corrected``, ``fd_low``, ``fd_high``, ...

        Args:
            fake: whatever ``evaluate`` takes: a generator, images, a spec.
            options: of ``evaluate``: ``num_samples``, ``value_range``, ...
        """
        evaluation = evaluate(
            self.reference(), fake, metrics=self.metrics, protocol=self.protocol, device=self.device, seed=self.seed,
            **options,
        )  # fmt: skip
        out: dict[str, object] = {}
        for name, result in evaluation.results.items():
            self.protocol_key = result.protocol.key()
            key = "fd" if name == "fid" else name
            out[key], out[f"{key}_n"] = result.value, result.n_fake
            if result.corrected is not None:
                out[f"{key}_corrected"] = result.corrected
            if result.interval is not None:
                out[f"{key}_low"], out[f"{key}_high"] = result.interval.low, result.interval.high
        return out

    def describe(self) -> dict[str, object]:
        """Against what and how, in values that JSON can hold; nothing is measured for it."""
        named = "training images" if self._reference is None else public_name(self._reference)
        return {"protocol": self.protocol.name, "metrics": list(self.metrics), "reference": named}

    def reference(self) -> object:
        """The reference, images as statistics; measured when it is first needed."""
        if self._measured is None:
            given = self._reference
            if given is not None and is_statistics(given):
                self._measured = self._load(given)
            else:
                images = self._sample() if given is None else given
                self._measured = build_statistics(images, protocol=self.protocol, device=self.device, seed=self.seed)
        return self._measured

    def _load(self, spec: object) -> Statistics:
        statistics = load_reference(spec)
        if statistics.protocol is None:
            raise IncomparableError(
                f"{statistics.spec} does not say under which protocol its statistics were made. Build them from the "
                f"images: ganeval stats build IMAGES -o FILE.npz --protocol {self.protocol.name}"
            )
        self.protocol.require_same(replace(statistics.protocol, weights=None), f"the statistics in {statistics.spec}")
        return statistics

    def _sample(self) -> Tensor:
        images = self._images
        if len(images) > _MOST:
            chosen = torch.randperm(len(images), generator=random_for(self.seed, 0, "reference"))[:_MOST]
            images = images[chosen.sort().values]
        return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def public_name(spec: object) -> str:
    """What a card may say of where images come from: the name of a file, not the folders of this machine."""
    if isinstance(spec, Path) or (isinstance(spec, str) and not spec.startswith(("dataset:", "stats:", "gen:"))):
        return Path(spec).name
    return spec if isinstance(spec, str) else type(spec).__name__
