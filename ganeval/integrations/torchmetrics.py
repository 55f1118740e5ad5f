"""An ``Evaluator`` as a ``torchmetrics.Metric``: for code that keeps its metrics in one collection."""

from __future__ import annotations

from typing import Any

import torch
import torchmetrics

from ganeval.errors import ConfigError
from ganeval.evaluator import Evaluator


class EvaluatorMetric(torchmetrics.Metric):
    """``update`` takes fakes, ``compute`` gives ``{"FID-5k": tensor(12.3), "FID-5k/corrected": ...}``.

    The Evaluator stays outside the module: no network in ``state_dict``, in ``parameters`` or on the module's device.
    Ranks are brought together by the Evaluator, not by torchmetrics; every rank must call ``compute``.

    A clone, as of ``MetricCollection(...).clone(prefix="val_")``, has its own fakes and shares reference and networks.

    Args:
        evaluator: made by you, closed by you.

    Raises:
        ConfigError: what would reset the fakes behind your back, a value of one batch (``metric(images)``), is refused.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None  # of several metrics there is no one direction; the registry has each one's

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
        raise ConfigError("a batch alone has no such metric: update(images) for each batch, compute() at the end.")
