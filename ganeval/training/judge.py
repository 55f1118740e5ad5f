"""The metrics of this package for a generator in training, against a reference that is measured once."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ganeval.api import build_statistics, evaluate
from ganeval.engine.reference_files import is_statistics, load_reference
from ganeval.errors import ConfigError, IncomparableError, NotEnoughSamplesError
from ganeval.features.cache import open_cache
from ganeval.images.grammar import as_spec
from ganeval.images.specs import public_text
from ganeval.metrics.registry import get_metric
from ganeval.protocol import get_protocol
from ganeval.results import MetricResult
from ganeval.statistics.reference import Statistics
from ganeval.training.config import TrainingConfig
from ganeval.training.loop import random_for

logger = logging.getLogger("ganeval")
METRICS = ("fid", "precision", "recall", "ind")  # by default, if reference and numbers of images allow it
_MOST = 10_000  # training images in the reference


class Judge:
    """``evaluate`` with a fixed reference.

    Args:
        reference: statistics (a file, or ``stats:NAME``) or images; None for the training images, of which at most
            10 000 are taken, drawn by the seed.
        images: the training images, uint8 (N, C, H, W); used if there is no ``reference``.
        protocol: protocol of all metrics.
        metrics: their names; None for those of ``METRICS`` that the reference and the number of images allow. A note
            names the others.
        device: where the protocol's network runs.
        seed: seed of latents and of the subset.

    Attributes:
        protocol_key: ``Protocol.key()`` of the last results, None before there are any.

    Raises:
        ConfigError: a metric is unknown.
    """

    def __init__(
        self,
        reference: Any,
        images: Tensor | None = None,
        *,
        protocol: str = "compact",
        metrics: Sequence[str] | None = None,
        device: str = "auto",
        seed: int = 0,
    ) -> None:
        self.protocol, self.device, self.seed = get_protocol(protocol), device, seed
        self._unasked = metrics is None
        self.metrics = require_metrics(METRICS if metrics is None else metrics)
        self._reference, self._images = reference, images
        self._measured: Statistics | None = None
        self.protocol_key: str | None = None

    def __call__(self, fake: object, **options: Any) -> dict[str, object]:
        """Evaluate ``fake``; the results as one flat dictionary: ``fd``, ``fd_corrected``, ``fd_low``, ``fd_high``, ...

        Args:
            fake: anything that ``evaluate`` takes: a generator, images, a spec.
            options: options of ``evaluate``: ``num_samples``, ``value_range``, ...
        """
        results = self.measure(fake, **options)
        out: dict[str, object] = {}
        for name, result in results.items():
            out |= flat("fd" if name == "fid" else name, result)
        return out

    def measure(self, fake: object, **options: Any) -> Mapping[str, MetricResult]:
        """Call ``evaluate``; with too few images for the default metrics, measure FD alone and log a note."""
        settings = {"protocol": self.protocol, "device": self.device, "seed": self.seed, **options}
        reference = self.reference()
        try:
            results = evaluate(reference, fake, metrics=self.metrics, **settings).results
        except NotEnoughSamplesError as error:
            if not self._unasked or self.metrics == METRICS[:1]:
                raise
            logger.info("evaluations are of FD alone: %s", error)
            results = evaluate(reference, fake, metrics=METRICS[:1], **settings).results
        self.metrics = tuple(results)
        self.protocol_key = next(iter(results.values())).protocol.key()
        return results

    def describe(self) -> dict[str, object]:
        """Protocol, metrics and reference in values that JSON can hold; measures nothing."""
        named = "training images" if self._reference is None else public_name(self._reference)
        return {"protocol": self.protocol.name, "metrics": list(self.metrics), "reference": named}

    def reference(self) -> Statistics:
        """The statistics of the reference, measured at the first call."""
        if self._measured is None:
            given = self._reference
            if given is not None and is_statistics(given):
                self._measured = self._load(given)
            else:
                images = self._sample() if given is None else given
                self._measured = build_statistics(
                    images, protocol=self.protocol, device=self.device, seed=self.seed, rows=True
                )
            self.metrics = self._served(self._measured)
        return self._measured

    def _served(self, reference: Statistics) -> tuple[str, ...]:
        """The metrics that the reference allows."""
        wanted = [get_metric(name) for name in self.metrics]
        lacking = [
            m.name
            for m in wanted
            if m.sides == "both" and (m.layer != "features" or (m.rows and reference.rows is None))
        ]
        if not lacking:
            return self.metrics
        why = f"{', '.join(lacking)} cannot be measured against {reference.spec or 'statistics'}, which hold"
        why += " no features of single images"
        if not self._unasked:
            raise ConfigError(f"{why}. Build it with `ganeval stats build --rows`, or leave them out of --metrics.")
        logger.info("evaluations: %s", why)
        return tuple(name for name in self.metrics if name not in lacking)

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
        assert images is not None
        if len(images) > _MOST:
            chosen = torch.randperm(len(images), generator=random_for(self.seed, 0, "reference"))[:_MOST]
            images = images[chosen.sort().values]
        return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def require_measurable(config: TrainingConfig) -> None:
    """Raise ConfigError before any image is read, if the evaluations of a run could never begin.

    That is an unknown protocol or metric, or a variable of the cache that holds no value of its kind.
    """
    get_protocol(config.protocol)
    require_metrics(METRICS if config.metrics is None else config.metrics)
    if config.eval_every:
        open_cache(None)


def require_metrics(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names; ConfigError if one needs held-out images, or there is none."""
    for name in names:
        if get_metric(name).test:
            raise ConfigError(f"{name} needs held-out real images, which a training does not have. Leave it out.")
    if not names:
        raise ConfigError("--metrics must name at least one metric. --eval-every 0 switches evaluations off.")
    return tuple(names)


def flat(key: str, result: MetricResult) -> dict[str, object]:
    """Flatten a result for a line of a log: ``key``, ``key_n``, ``key_corrected``, ``key_low``, ..."""
    out: dict[str, object] = {key: result.value, f"{key}_n": result.n_fake}
    if result.corrected is not None:
        out[f"{key}_corrected"] = result.corrected
    if result.interval is not None:
        out |= {f"{key}_low": result.interval.low, f"{key}_high": result.interval.high}
    return out


def public_name(spec: object) -> str:
    """The name of an image source for a card: without the folders of this machine."""
    named = as_spec(spec)
    return type(spec).__name__ if named is None else public_text(named)
