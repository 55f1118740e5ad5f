"""An ``Evaluator`` as a ``torchmetrics.Metric``, for code with its metrics in one collection."""

from __future__ import annotations

from typing import Any

import torch
import torchmetrics

from ganeval.errors import ConfigError
from ganeval.evaluator import Evaluator


class EvaluatorMetric(torchmetrics.Metric):
    """``update`` takes fakes, ``compute`` returns ``{"FID-5k": tensor(12.3), "FID-5k/corrected": ...}``.

    The Evaluator stays outside the module: no network is in ``state_dict`` or ``parameters``, or on its device.
    The Evaluator synchronises the ranks, not torchmetrics; every rank must call ``compute``.

    A clone, as of ``MetricCollection(...).clone(prefix="val_")``, has separate fakes and shares reference and networks.

    Args:
        evaluator: the caller creates and closes it.

    Raises:
        ConfigError: ``metric(images)``, the value of one batch, is refused: it would reset the fakes.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None  # several metrics have no common direction; the registry has that of each

    def __init__(self, evaluator: Evaluator, **options: Any) -> None:
        super().__init__(**{"sync_on_compute": False, "compute_with_cache": False, **options})
        self.evaluator = evaluator

    def update(self, images: torch.Tensor) -> None:
        """Fakes (N, 3, H, W): uint8, or floats in the Evaluator's ``value_range``."""
        self.evaluator.update(images)

    def compute(self) -> dict[str, torch.Tensor]:
        flat = self.evaluator.compute().flat()
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in flat.items()}

    def reset(self) -> None:
        super().reset()
        self.evaluator.reset()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise ConfigError("a single batch has no value: call update(images) for each batch, and compute() at the end.")
