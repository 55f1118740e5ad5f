"""The toy game: its integrals against theory and against sampling, and what it claims to show."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

EQUILIBRIUM = -math.log(4)


@pytest.fixture(scope="module")
def toy() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).resolve().parents[2] / "examples")
        return importlib.import_module("toy_game")


def densities(toy: ModuleType) -> dict[str, tuple[Tensor, Tensor]]:
    data = toy.mixture(toy.centres(), toy.SIGMA)
    generator = torch.Generator().manual_seed(0)
    return {
        "equal": (data, data),
        "shifted": (data, toy.mixture(toy.centres() + 0.3, 0.4)),
        "one mode": (data, toy.mixture(toy.centres()[:1], toy.SIGMA)),
        "random": (data, toy.mixture(0.7 * torch.randn(50, 2, generator=generator), 0.3)),
        "disjoint": (toy.mixture(toy.centres()[:1], 0.05), toy.mixture(toy.centres()[4:5], 0.05)),
    }


def test_value_of_the_best_discriminator_is_the_divergence_against_theory(toy: ModuleType) -> None:
    """V(D*, G) = -log 4 + 2 JSD: one side from log-likelihood ratios, the other from entropies."""
    for name, (p, q) in densities(toy).items():
        value = toy.game_value(toy.best_discriminator(p, q), p, q)
        divergence = toy.jensen_shannon(p, q)
        assert value == pytest.approx(EQUILIBRIUM + 2 * divergence, abs=1e-7), name
        assert -1e-7 <= divergence <= math.log(2) + 1e-7
        expected = {"equal": 0.0, "disjoint": math.log(2)}.get(name)
        if expected is not None:
            assert divergence == pytest.approx(expected, abs=1e-7)
    # A model of one of K separate modes: JSD by hand, with a = 1 / K the share of the data there.
    a = 1 / toy.MODES
    by_hand = 0.5 * ((1 - a) * math.log(2) + a * math.log(2 * a / (1 + a)) + math.log(2 / (1 + a)))
    one, all_of_them = (toy.mixture(centres, 0.1) for centres in (toy.centres()[:1], toy.centres()))
    assert toy.jensen_shannon(all_of_them, one) == pytest.approx(by_hand, abs=1e-7)


def test_no_discriminator_is_better_than_the_best(toy: ModuleType) -> None:
    p, q = densities(toy)["shifted"]
    best = toy.best_discriminator(p, q)
    generator = torch.Generator().manual_seed(1)
    for size in (0.01, 0.1, 1.0):
        other = best + size * torch.randn(best.shape, generator=generator, dtype=best.dtype)
        assert toy.game_value(other, p, q) < toy.game_value(best, p, q)
    assert toy.game_value(torch.zeros_like(best), p, q) == pytest.approx(EQUILIBRIUM, abs=1e-7)


def test_integrals_against_sampling(toy: ModuleType) -> None:
    """The density of a generator, and the value of its game with D*, against 20 000 points that it makes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        generator = toy.Generator()
        for parameter in generator.parameters():
            parameter.data.mul_(3)
        n = 20_000
        with torch.no_grad():
            fake = (generator(torch.randn(n, 2)) + toy.NOISE * torch.randn(n, 2)).double()
        real = toy.centres()[torch.randint(toy.MODES, (n,))] + toy.SIGMA * torch.randn(n, 2, dtype=torch.float64)
    p_data, p_model = toy.mixture(toy.centres(), toy.SIGMA), toy.model_density(generator)
    assert float(toy.integral(p_model)) == pytest.approx(1, abs=1e-6)
    x, y = torch.meshgrid(toy.axis(), toy.axis(), indexing="ij")
    for values, samples in ((x, fake[:, 0]), (y, fake[:, 1]), (x * y, fake[:, 0] * fake[:, 1])):
        error = float(samples.std()) / math.sqrt(n)
        assert float(toy.integral(p_model * values)) == pytest.approx(float(samples.mean()), abs=4 * error + 2e-3)

    logits = toy.best_discriminator(p_data, p_model).clamp(-50, 50)

    def at(points: Tensor) -> Tensor:
        places = ((points + toy.REACH) / (2 * toy.REACH) * (toy.POINTS - 1)).round().long()
        return logits[places[:, 0], places[:, 1]]

    terms = torch.nn.functional.logsigmoid(at(real)), torch.nn.functional.logsigmoid(-at(fake))
    sampled = float(sum(term.mean() for term in terms))
    error = math.sqrt(sum(float(term.var()) / n for term in terms))
    value = toy.game_value(toy.best_discriminator(p_data, p_model), p_data, p_model)
    assert value == pytest.approx(sampled, abs=4 * error + 0.01)


@pytest.mark.parametrize("alternating", [True, False])
def test_rotation_against_its_linearisation(toy: ModuleType, alternating: bool) -> None:
    rate, radius, start = 0.1, 0.6, 1e-3
    path = toy.rotate(radius=radius, rate=rate, steps=300, alternating=alternating, start=start)
    s = radius**2 / 2 + toy.SIGMA**2
    w, t = 0.0, start
    expected = [(w, t)]
    for _ in range(300):
        new = w + rate * (-t / 2 - s / 2 * w)
        t += rate * (new if alternating else w) / 2
        w = new
        expected.append((w, t))
    torch.testing.assert_close(path, torch.tensor(expected, dtype=torch.float64), rtol=1e-3, atol=1e-3 * start)
    angles = torch.atan2(path[:, 1], path[:, 0])
    assert int((angles.diff().abs() > 3).sum()) >= 2  # it goes round


def test_the_game_at_tiny_size(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(toy, "POINTS", 121)
    state = torch.get_rng_state()
    games = toy.main(["--steps", "6", "-o", str(tmp_path / "toy.png")])
    assert torch.equal(torch.get_rng_state(), state)
    assert (tmp_path / "toy.png").stat().st_size > 10_000
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert len(games) == 3
    for game in games:
        assert game.steps[0] == 0
        for value, best, divergence in zip(game.value, game.best, game.divergence, strict=True):
            assert value <= best + 1e-7
            assert best == pytest.approx(EQUILIBRIUM + 2 * divergence, abs=1e-6)
    again = toy.play("again", "non-saturating", steps=6)
    assert again.value == games[0].value


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [0, 1])
def test_the_saturating_loss_collapses(toy: ModuleType, seed: int) -> None:
    healthy = toy.play("", "non-saturating", steps=1200, every=400, seed=seed)
    saturated = toy.play("", "minimax", steps=1200, every=400, seed=seed)
    assert toy.modes_covered(healthy.p_model) >= 6
    assert healthy.divergence[-1] < 0.35
    assert toy.modes_covered(saturated.p_model) <= 1
    assert saturated.divergence[-1] > 0.6
