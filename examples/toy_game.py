"""The adversarial game in two dimensions, where everything that is hidden in a real one can be computed.

The data are a ring of Gaussians. The generator is a small network whose output gets a little Gaussian noise, so its
density is an integral over the latent, p_model(x) = E_z N(x; G(z), s^2 I), and integrals over a grid give what theory
speaks of (Goodfellow et al. 2014): the best answer to this generator, D* = p_data / (p_data + p_model), the
Jensen-Shannon divergence, and the value of the game, for which

    V(D*, G) = -log 4 + 2 JSD(p_data, p_model).

    python examples/toy_game.py -o toy-game.png

plays it three times from the same start and draws what happened:

- with the non-saturating loss, which approaches the equilibrium and finds the modes;
- with the saturating loss of the minimax game, log(1 - D) instead of -log D, all else equal: where the discriminator
  wins, the generator's gradient is gone (plain gradient descent; Adam would scale it up again), and it stays in one
  point, off all modes;
- with the saturating loss and a generator that moves ten times before the discriminator answers: min and max have
  changed places, the best of all generators against a fixed D puts everything where D is largest, and so it collapses
  to a mode and hops to the next one when D has learnt that. (In this order the non-saturating loss does it too.)

Last, a discriminator with a single direction and a generator with a single shift go round their equilibrium.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ganeval.training.losses import EQUILIBRIUM, discriminator_loss, generator_loss

MODES, RADIUS, SIGMA = 8, 2.0, 0.2  # of the data
NOISE = 0.1  # s, of the generator's output
REACH, POINTS = 4.5, 181  # the grid: [-REACH, REACH] in both directions


# --- integrals -----------------------------------------------------------------------------------------------------


def centres(radius: float = RADIUS) -> Tensor:
    """(MODES, 2)."""
    angles = torch.arange(MODES, dtype=torch.float64) * (2 * math.pi / MODES)
    return radius * torch.stack([angles.cos(), angles.sin()], dim=1)


def axis() -> Tensor:
    """The POINTS coordinates of the grid in one direction."""
    return torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)


def integral(values: Tensor) -> Tensor:
    """Over the plane, of values on the grid (POINTS, POINTS)."""
    return values.sum() * (2 * REACH / (POINTS - 1)) ** 2


def mixture(means: Tensor, sigma: float) -> Tensor:
    """Density on the grid of Gaussians of equal weight around (K, 2) means, as a product of two matrices."""
    distance = (axis()[None, :, None] - means.double()[:, None, :]) / sigma  # (K, POINTS, 2)
    bells = torch.exp(-0.5 * distance**2) / (sigma * math.sqrt(2 * math.pi))
    return bells[:, :, 0].T @ bells[:, :, 1] / len(means)


def best_discriminator(p_data: Tensor, p_model: Tensor) -> Tensor:
    """Logits of D* = p_data / (p_data + p_model), which are log p_data - log p_model; 0 where neither has any mass."""
    return (p_data.log() - p_model.log()).nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)


def game_value(logits: Tensor, p_data: Tensor, p_model: Tensor) -> float:
    """V(D, G) = integral of p_data log D + p_model log(1 - D); from logits, since D rounds to 0 and 1."""
    of_data = torch.where(p_data > 0, p_data * logsigmoid(logits), 0.0)
    of_model = torch.where(p_model > 0, p_model * logsigmoid(-logits), 0.0)
    return float(integral(of_data + of_model))


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """H((p + q) / 2) - (H(p) + H(q)) / 2 with entropies H: 0 if equal, log 2 if disjoint."""

    def entropy(density: Tensor) -> Tensor:
        return -integral(torch.xlogy(density, density))

    return float(entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2)


def modes_covered(p_model: Tensor) -> int:
    """Modes of the data, within 3 standard deviations of which the model has at least a quarter of what it should."""
    x, y = torch.meshgrid(axis(), axis(), indexing="ij")
    near = [(x - a) ** 2 + (y - b) ** 2 < (3 * SIGMA) ** 2 for a, b in centres().tolist()]
    return sum(float(integral(p_model * where)) >= 0.25 / MODES for where in near)


# --- the game ------------------------------------------------------------------------------------------------------


def network(outputs: int, width: int = 64) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )  # fmt: skip


class Generator(nn.Module):
    """z to points that stay well inside the grid."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network(2)

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = 0.8 * REACH * torch.tanh(self.body(z) / REACH)
        return out


def latent_grid(n: int = 64) -> Tensor:
    """(n * n, 2): the plane of standard normal latents in cells of equal probability, one point in each."""
    line = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n).float()
    return torch.cartesian_prod(line, line)


@torch.no_grad()
def model_density(generator: nn.Module) -> Tensor:
    """p_model on the grid: the integral over the latent as a mean over its cells."""
    return mixture(generator(latent_grid()), NOISE)


@torch.no_grad()
def discriminator_map(discriminator: nn.Module) -> Tensor:
    """Logits of D on the grid."""
    points = torch.cartesian_prod(axis(), axis()).float()
    return discriminator(points).double().reshape(POINTS, POINTS)


@dataclass
class Played:
    """The measured values of a game at some of its steps."""

    name: str
    steps: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)  # V(D, G) of the players
    best: list[float] = field(default_factory=list)  # V(D*, G)
    divergence: list[float] = field(default_factory=list)  # JSD(data, model)
    middle: list[tuple[float, float]] = field(default_factory=list)  # mean of the model
    p_model: Tensor = field(default_factory=lambda: torch.empty(0))
    logits: Tensor = field(default_factory=lambda: torch.empty(0))  # of D


def play(
    name: str, loss: str, *, steps: int, adam: bool = False, d_steps: int = 3, g_steps: int = 1, batch: int = 256,
    every: int = 50, seed: int = 0,
) -> Played:  # fmt: skip
    """Play with alternating updates; each player updates only its own parameters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator, discriminator = Generator(), network(1)
    draw = torch.Generator().manual_seed(seed)
    ring, p_data = centres().float(), mixture(centres(), SIGMA)
    of_d: torch.optim.Optimizer = torch.optim.Adam(discriminator.parameters(), 1e-3, betas=(0.5, 0.9))
    of_g: torch.optim.Optimizer = torch.optim.SGD(generator.parameters(), 0.02)
    if adam:
        of_g = torch.optim.Adam(generator.parameters(), 1e-3, betas=(0.5, 0.9))

    def real() -> Tensor:
        modes = torch.randint(MODES, (batch,), generator=draw)
        return ring[modes] + SIGMA * torch.randn(batch, 2, generator=draw)

    def fake() -> Tensor:
        z, noise = torch.randn(2, batch, 2, generator=draw)
        return generator(z) + NOISE * noise

    played = Played(name)
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            played.p_model, played.logits = model_density(generator), discriminator_map(discriminator)
            played.steps.append(step)
            played.value.append(game_value(played.logits, p_data, played.p_model))
            played.best.append(game_value(best_discriminator(p_data, played.p_model), p_data, played.p_model))
            played.divergence.append(jensen_shannon(p_data, played.p_model))
            x, y = (float(integral(played.p_model * at)) for at in torch.meshgrid(axis(), axis(), indexing="ij"))
            played.middle.append((x, y))
        for _ in range(d_steps):
            of_d.zero_grad()
            discriminator_loss(discriminator(real()), discriminator(fake().detach()), loss).backward()
            of_d.step()
        for _ in range(g_steps):
            of_g.zero_grad()
            generator_loss(discriminator(fake()), loss).backward()
            of_g.step()
    return played


# --- rotation ------------------------------------------------------------------------------------------------------


def rotate(
    *, radius: float = 0.6, rate: float = 0.1, steps: int = 900, alternating: bool = True, start: float = 1.0
) -> Tensor:
    """The smallest game: p_model is the data moved by t along x, D(x, y) = sigmoid(w x); gradients by integration.

    Near its equilibrium (0, 0) it is the linear system w' = -t/2 - (S/2) w, t' = w/2 with S = E x^2 of the data: a
    rotation of about half a radian in a unit of time, damped at the rate S/4 alone.

    Returns:
        (steps + 1, 2): w and t; time advances by ``rate`` a step.
    """
    x = axis()
    data = mixture(centres(radius), SIGMA).sum(1) * (x[1] - x[0])  # density along x
    step = 2 * REACH / (POINTS - 1)
    w, t = 0.0, start
    path = [(w, t)]
    for _ in range(steps):
        # dV/dw = E_data x D(-x) - E_model x D(x), and the generator descends V: dV/dt = -w E_model D(x)
        up = (
            float((data * x * torch.sigmoid(-w * x)).sum() - (data * (x + t) * torch.sigmoid(w * (x + t))).sum()) * step
        )
        new = w + rate * up
        seen = new if alternating else w
        t += rate * seen * float((data * torch.sigmoid(seen * (x + t))).sum()) * step
        w = new
        path.append((w, t))
    return torch.tensor(path, dtype=torch.float64)


# --- the figure ----------------------------------------------------------------------------------------------------


def draw(games: list[Played], output: Path) -> None:
    """Six panels; the first game is the one that is looked into."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 9), layout="constrained")
    (values, *densities), (last, best, round_it) = figure.subplots(2, 3)
    first, last_game, p_data = games[0], games[-1], mixture(centres(), SIGMA)
    theory = [EQUILIBRIUM + 2 * divergence for divergence in first.divergence]
    values.plot(first.steps, first.value, color="tab:orange", label="V(D, G) of the players")
    values.plot(first.steps, first.best, color="tab:blue", lw=3, alpha=0.6, label="V(D*, G), of the best discriminator")
    values.plot(first.steps, theory, "k:", label="-log 4 + 2 JSD")
    values.axhline(EQUILIBRIUM, color="grey", lw=1, label="equilibrium, -log 4")
    lowest = min(EQUILIBRIUM, *first.best)  # a discriminator may be far worse than the best
    values.set(ylim=(max(lowest - 1, min(first.value) - 0.1, -3), 0.05), xlabel="step", ylabel="value of the game")
    values.set_title(f"approach to the equilibrium ({first.name})")
    values.legend(fontsize=8)
    square = (-REACH, REACH, -REACH, REACH)
    for panel, game in zip((*densities, last), games, strict=False):
        shown = game.p_model.clamp(max=2 * float(p_data.max()))  # a collapsed one has one bright point
        panel.imshow(shown.T.numpy(), origin="lower", extent=square, cmap="Blues")
        panel.contour(axis().numpy(), axis().numpy(), p_data.T.numpy(), levels=[0.05], colors="tab:red", linewidths=1)
        if game is last_game:
            panel.plot(
                *zip(*game.middle[-30:], strict=True), ".-", color="tab:blue", lw=0.5, ms=4, label="its mean before"
            )
            panel.legend(fontsize=8)
        covered = f"{modes_covered(game.p_model)} of {MODES} modes, JSD {game.divergence[-1]:.2f}"
        panel.set_title(f"{game.name}: model blue, data red\n{covered} (at most log 2 = 0.69)")
    logits = best_discriminator(p_data, first.p_model)
    shown = best.imshow(logits.sigmoid().T.numpy(), origin="lower", extent=square, cmap="RdBu", vmin=0, vmax=1)
    best.set_title(f"D* at the end ({first.name}):\n1/2 where the densities are equal")
    figure.colorbar(shown, ax=best, shrink=0.8)
    for alternating, colour in ((False, "tab:orange"), (True, "tab:blue")):
        w, t = rotate(alternating=alternating).T.numpy()
        round_it.plot(w, t, lw=1, color=colour, label="alternating" if alternating else "simultaneous")
    round_it.plot(w[0], t[0], "k.", label="start")
    round_it.plot(0, 0, "k+", ms=12, label="equilibrium")
    round_it.set(xlabel="w", ylabel="t", aspect="equal")
    round_it.set_title("rotation: D = sigmoid(w x), model = data + t")
    round_it.legend(fontsize=8)
    figure.savefig(output, dpi=80)


def main(arguments: list[str] | None = None) -> list[Played]:
    parser = argparse.ArgumentParser(description="The adversarial game in two dimensions, compared with theory.")
    parser.add_argument("-o", "--output", type=Path, default=Path("toy-game.png"))
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    games = [
        play("non-saturating", "non-saturating", steps=options.steps, seed=options.seed),
        play("saturating", "minimax", steps=options.steps, seed=options.seed),
        play(
            "saturating, G first", "minimax", adam=True, d_steps=1, g_steps=10, steps=options.steps // 2,
            seed=options.seed,
        ),
    ]  # fmt: skip
    for game in games:
        print(
            f"{game.name:>19}: V(D*, G) {game.best[-1]:.4f}, -log 4 + 2 JSD "
            f"{EQUILIBRIUM + 2 * game.divergence[-1]:.4f}, {modes_covered(game.p_model)} of {MODES} modes"
        )
    draw(games, options.output)
    print(f"drawn in {options.output}")
    return games


if __name__ == "__main__":
    main()
