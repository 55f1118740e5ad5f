"""The cost of the training loop: A DCGAN's steps with log and average, against a bare torch loop.

    python -m benchmarks.dcgan_throughput [--width 128] [--batch-size 128] [--precision bf16] [--threads 1] [-o FILE]

Both do the same steps, in turns, in CPU time (on an accelerator: in wall time). The bare loop has the batch ready, and
neither averages nor logs. The promise is: at most 10 % slower.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.turns import add_options, between_ends, clock, compare
from ganeval.generators.dcgan import Discriminator, Generator
from ganeval.training.config import DCGANConfig
from ganeval.training.dcgan import DCGANGame
from ganeval.training.hardware import autocast
from ganeval.training.judge import Judge
from ganeval.training.loop import play
from ganeval.training.losses import discriminator_loss, generator_loss
from ganeval.training.runs import open_run


def bare(images: torch.Tensor, width: int, batch: int, precision: str, device: torch.device) -> Callable[[int], float]:
    """The same game, written down without this package's loop."""
    g = Generator(width=width).to(device).to(memory_format=torch.channels_last)
    d = Discriminator(width=width).to(device).to(memory_format=torch.channels_last)
    of_g, of_d = (torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.999)) for network in (g, d))
    real = (images[:batch].float() / 127.5 - 1).to(device).contiguous(memory_format=torch.channels_last)

    def run(steps: int) -> float:
        started = clock(device)
        for _ in range(steps):
            z = torch.randn(batch, 100, device=device)
            with autocast(device, precision):
                fake = g(z)
                on_real, on_fake = d(real), d(fake.detach())
            of_d.zero_grad(set_to_none=True)
            discriminator_loss(on_real.float(), on_fake.float()).backward()
            of_d.step()
            d.requires_grad_(False)
            with autocast(device, precision):
                on_fake = d(fake)
            of_g.zero_grad(set_to_none=True)
            generator_loss(on_fake.float()).backward()
            of_g.step()
            d.requires_grad_(True)
        return (clock(device) - started) / steps

    return run


def ours(images: torch.Tensor, width: int, batch: int, precision: str, device: torch.device) -> Callable[[int], float]:
    """The loop as users run it, without evaluations, pictures and the end."""
    config = DCGANConfig(width=width, batch_size=batch, precision=precision, flip=True, eval_every=0, sample_every=0)
    judge = Judge(None, images, device=str(device))
    game = DCGANGame(images, config, device=device, judge=judge, about={})
    game.grid = lambda: (torch.zeros(1, 3, 2, 2, dtype=torch.uint8), 1)  # type: ignore[method-assign]
    game.export = lambda folder, history: None  # type: ignore[method-assign]

    def run(steps: int) -> float:
        def step(step: int, *, measure: bool) -> dict[str, float]:
            return DCGANGame.step(game, step, measure=measure)

        game.step, ends = between_ends(step, steps, device)  # type: ignore[method-assign]
        with tempfile.TemporaryDirectory() as folder:
            run = open_run(Path(folder) / "run", {"model": "dcgan", "architecture": {}})
            play(game, run, replace(config, steps=steps, checkpoint_every=steps), device=device)
        return (ends[-1] - ends[0]) / steps  # the figure at the end is not part of a step

    return run


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=128)
    add_options(parser, steps=3, rounds=5)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    images = torch.randint(0, 256, (2000, 3, 32, 32), dtype=torch.uint8)
    game = (images, options.width, options.batch_size, options.precision, device)
    return compare(bare(*game), ours(*game), options, options.batch_size)


if __name__ == "__main__":
    main()
