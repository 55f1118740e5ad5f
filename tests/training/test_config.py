"""The options of a training run: their limits."""

from __future__ import annotations

from typing import Any

import pytest

from ganeval.errors import ConfigError
from ganeval.training.config import CycleGANConfig, DCGANConfig, TrainingConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "--steps .* must be at least 1; got 0"),
        ({"checkpoint_every": 0}, "--checkpoint-every .* must be at least 1"),
        ({"eval_every": -1}, "--eval-every .* must be at least 0"),
        ({"max_minutes": 0.0}, "--max-minutes .* must be a number above 0"),
        ({"average": 1.0}, "--average .* must be a number below 1; got 1"),
        ({"average": -0.1}, "--average .* must be at least 0"),
        ({"average": float("nan")}, "--average"),
        ({"precision": "fp16"}, "--precision .* must be one of float32, bf16, tf32; got 'fp16'"),
    ],
)
def test_shared_options_iv(settings: dict[str, Any], message: str) -> None:
    for config in (TrainingConfig, DCGANConfig, CycleGANConfig):
        with pytest.raises(ConfigError, match=message):
            config(**settings)
