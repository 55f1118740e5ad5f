"""The cost of the training loop: CycleGAN's steps with log, pool and average, against a bare torch loop.

    python -m benchmarks.cyclegan_throughput [--width 64] [--batch-size 1] [--precision bf16] [--threads 1] [-o FILE]

Both do the same steps at 64 pixels, in turns, in CPU time (on an accelerator: in wall time). The bare loop has the
batches ready, and neither averages nor logs nor keeps a pool. The promise is: at most 10 % slower.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.turns import add_options, between_ends, clock, compare
from ganeval.generators.cyclegan import PatchDiscriminator, TranslationGenerator
from ganeval.training.config import CycleGANConfig
from ganeval.training.cycle_game import CycleGame
from ganeval.training.hardware import autocast
from ganeval.training.loop import Batches, play
from ganeval.training.runs import open_run
from ganeval.training.translation import Yardstick

SIZE = 64


def bare(a: Tensor, b: Tensor, options: argparse.Namespace) -> Callable[[int], float]:
    """The same game as in the paper, written down without this package's loop."""
    device, precision, n = torch.device(options.device), options.precision, options.batch_size
    g, f = (TranslationGenerator(width=options.width, blocks=options.blocks) for _ in "gf")
    d_a, d_b = (PatchDiscriminator(width=64, patch=34) for _ in "ab")
    for network in (g, f, d_a, d_b):
        network.to(device).to(memory_format=torch.channels_last)
    players = [*g.parameters(), *f.parameters()], [*d_a.parameters(), *d_b.parameters()]
    of_g, of_d = (torch.optim.Adam(parameters, 2e-4, betas=(0.5, 0.999)) for parameters in players)
    x, y = (
        (images[:n].float() / 127.5 - 1).to(device).contiguous(memory_format=torch.channels_last) for images in (a, b)
    )

    def run(steps: int) -> float:
        started = clock(device)
        for _ in range(steps):
            d_a.requires_grad_(False), d_b.requires_grad_(False)
            with autocast(device, precision):
                fake_y, fake_x = g(x), f(y)
                loss = (d_b(fake_y).float() - 1).square().mean() + (d_a(fake_x).float() - 1).square().mean()
                back_x, same_x = f(torch.cat([fake_y, x])).float().chunk(2)
                back_y, same_y = g(torch.cat([fake_x, y])).float().chunk(2)
            for weight, one, other in ((10, back_x, x), (10, back_y, y), (5, same_x, x), (5, same_y, y)):
                loss = loss + weight * (one - other).abs().mean()
            of_g.zero_grad(set_to_none=True)
            loss.backward()
            of_g.step()
            d_a.requires_grad_(True), d_b.requires_grad_(True)
            loss = torch.zeros((), device=device)
            for d, real, fake in ((d_a, x, fake_x), (d_b, y, fake_y)):
                with autocast(device, precision):
                    on_real, on_fake = d(torch.cat([real, fake.detach().float()])).float().chunk(2)
                loss = loss + 0.5 * ((on_real - 1).square().mean() + on_fake.square().mean())
            of_d.zero_grad(set_to_none=True)
            loss.backward()
            of_d.step()
        return (clock(device) - started) / steps

    return run


def ours(a: Tensor, b: Tensor, options: argparse.Namespace) -> Callable[[int], float]:
    """The loop as users run it, without evaluations, pictures and the end."""
    device, n = torch.device(options.device), options.batch_size
    config = CycleGANConfig(
        width=options.width, blocks=options.blocks, patch=34, steps=10**6, precision=options.precision, eval_every=0,
        sample_every=0,
    )  # fmt: skip
    batches = Batches(a, n, 0, stream="a"), Batches(b, n, 0, stream="b")
    game = CycleGame(batches, config, yardsticks=(Yardstick(a, b), Yardstick(b, a)), device=device, card={})
    game.grid = lambda: (torch.zeros(1, 3, 2, 2, dtype=torch.uint8), 1)  # type: ignore[method-assign]
    game.export = lambda folder, history: None  # type: ignore[method-assign]
    numbers = itertools.count()

    def run(steps: int) -> float:
        def step(_: int, *, measure: bool) -> dict[str, float]:
            return CycleGame.step(game, next(numbers), measure=measure)

        game.step, ends = between_ends(step, steps, device)  # type: ignore[method-assign]
        with tempfile.TemporaryDirectory() as folder:
            run = open_run(Path(folder) / "run", {"model": "cyclegan", "architecture": {}})
            play(game, run, replace(config, steps=steps, checkpoint_every=steps), device=device)
        return (ends[-1] - ends[0]) / steps

    return run


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--batch-size", type=int, default=1)
    add_options(parser, steps=2, rounds=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    images = [torch.randint(0, 256, (200, 3, SIZE, SIZE), dtype=torch.uint8) for _ in "ab"]
    return compare(bare(*images, options), ours(*images, options), options, 2 * options.batch_size)


if __name__ == "__main__":
    main()
