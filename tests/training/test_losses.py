"""The losses against their formulas in plain arithmetic, and against what theory says of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from ganeval.errors import ConfigError
from ganeval.training.losses import (
    EQUILIBRIUM,
    LOSSES,
    discriminator_loss,
    generator_loss,
    log_odds,
    minimax_value,
)

REAL = torch.tensor([-2.0, -0.3, 0.0, 0.7, 3.0], dtype=torch.float64)
FAKE = torch.tensor([-4.0, 0.2, 1.5], dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def naive(kind: str) -> tuple[float, float]:
    """(discriminator, generator), as the papers write them."""
    real, fake = REAL.tolist(), FAKE.tolist()
    if kind == "least-squares":
        return 0.5 * (mean([(r - 1) ** 2 for r in real]) + mean([f**2 for f in fake])), mean(
            [(f - 1) ** 2 for f in fake]
        )
    if kind == "hinge":
        return mean([max(0, 1 - r) for r in real]) + mean([max(0, 1 + f) for f in fake]), -mean(fake)
    cost = -mean([math.log(sigmoid(r)) for r in real]) - mean([math.log(1 - sigmoid(f)) for f in fake])
    if kind == "minimax":
        return cost, mean([math.log(1 - sigmoid(f)) for f in fake])
    return cost, -mean([math.log(sigmoid(f)) for f in fake])


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_against_theory(kind: str) -> None:
    cost, price = naive(kind)
    assert discriminator_loss(REAL, FAKE, kind).item() == pytest.approx(cost, rel=1e-12)
    assert generator_loss(FAKE, kind).item() == pytest.approx(price, rel=1e-12)


def test_value_against_theory() -> None:
    assert minimax_value(REAL, FAKE).item() == pytest.approx(-naive("minimax")[0], rel=1e-12)
    even = torch.zeros(7)
    assert minimax_value(even, even).item() == pytest.approx(EQUILIBRIUM, rel=1e-6)
    assert pytest.approx(-1.3862943611198906) == EQUILIBRIUM


def test_zero_sum_only_under_the_minimax_loss() -> None:
    """The generator of the minimax game pays what the discriminator gains from the fakes, the other one does not."""
    fake = FAKE.clone().requires_grad_()
    (of_generator,) = torch.autograd.grad(generator_loss(fake, "minimax"), fake)
    (of_discriminator,) = torch.autograd.grad(discriminator_loss(REAL, fake, "minimax"), fake)
    torch.testing.assert_close(of_generator, -of_discriminator)


def test_saturation_against_theory() -> None:
    """Where the discriminator is sure, the minimax gradient is its probability, and the non-saturating one is not."""
    sure = torch.tensor([-30.0], dtype=torch.float64, requires_grad=True)
    (saturated,) = torch.autograd.grad(generator_loss(sure, "minimax"), sure)
    (alive,) = torch.autograd.grad(generator_loss(sure, "non-saturating"), sure)
    assert abs(saturated.item()) == pytest.approx(sigmoid(-30), rel=1e-9)
    assert alive.item() == pytest.approx(-1.0, abs=1e-9)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("extreme", [300.0, -300.0])
def test_extreme_logits_degenerate(kind: str, extreme: float) -> None:
    """The logarithm of a sigmoid in float32 would be minus infinity here."""
    logits = torch.full((4,), extreme, requires_grad=True)
    for loss in (discriminator_loss(logits, logits, kind), generator_loss(logits, kind)):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
    assert torch.isfinite(minimax_value(log_odds(logits, kind), log_odds(logits, kind)))


def test_log_odds_against_theory() -> None:
    """A least-squares discriminator's output is the probability itself."""
    outputs = torch.tensor([0.2, 0.5, 0.9, 1.3, -0.1])
    odds = log_odds(outputs, "least-squares").sigmoid()
    torch.testing.assert_close(odds[:3], outputs[:3])
    assert ((odds > 0) & (odds < 1)).all()
    assert log_odds(outputs, "hinge") is outputs


@pytest.mark.parametrize("function", [lambda x, k: discriminator_loss(x, x, k), generator_loss])
def test_unknown_loss_iv(function: object) -> None:
    with pytest.raises(
        ConfigError, match="Unknown loss 'wasserstein'. Available: non-saturating, minimax, least-squares, hinge"
    ):
        function(torch.zeros(2), "wasserstein")  # type: ignore[operator]


def test_shape_does_not_matter_batch() -> None:
    logits: Tensor = torch.randn(12, generator=torch.Generator().manual_seed(0))
    for kind in LOSSES:
        assert generator_loss(logits, kind) == generator_loss(logits.reshape(3, 1, 2, 2), kind)
