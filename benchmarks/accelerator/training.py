"""Training: steps a second of DCGAN and CycleGAN beside bare loops, and whether two runs are the same to the bit."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import cyclegan_throughput, dcgan_throughput
from benchmarks.accelerator.bench import Bench, Found


def pictures(n: int, size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)


def dcgan(bench: Bench, precision: str = "float32") -> tuple[Any, Any, int]:
    """Runs of the bare loop and of this package's, and images a step."""
    width, batch = bench.pick((128, 128), (4, 4))
    given = (pictures(bench.pick(2000, 16), 32, 0), width, batch, precision, bench.device)
    return dcgan_throughput.bare(*given), dcgan_throughput.ours(*given), batch


def cyclegan(bench: Bench, precision: str = "float32") -> tuple[Any, Any, int]:
    width, blocks = bench.pick((64, 6), (4, 1))
    options = argparse.Namespace(
        device=str(bench.device), batch_size=1, width=width, blocks=blocks, precision=precision
    )  # fmt: skip
    a, b = (pictures(bench.pick(100, 4), bench.pick(64, 32), seed) for seed in (1, 2))
    return cyclegan_throughput.bare(a, b, options), cyclegan_throughput.ours(a, b, options), 2


def speed(bench: Bench) -> Found:
    """Both loops in turns; neither waits for the device within a turn."""
    found: Found = {}
    for name, make, steps in (("DCGAN", dcgan, 100), ("CycleGAN", cyclegan, 40)):
        for precision in bench.pick(("float32", "bf16"), ("float32",)):
            bare, ours, images = make(bench, precision)
            rates = {}
            for which, run in (("bare loop", bare), ("this loop", ours)):
                run(bench.pick(3, 1))
                seconds, memory = bench.peak(lambda run=run: run(bench.pick(steps, 1)))  # noqa: B023
                rates[which] = seconds
                found[f"{name} {precision}, {which}"] = {
                    "steps/s": 1 / seconds, "images/s": images / seconds, "GB": memory,
                }  # fmt: skip
            found[f"{name} {precision}, time of this loop / bare"] = rates["this loop"] / rates["bare loop"]
    return found


def game(name: str, bench: Bench) -> tuple[Any, str]:
    """A game at its beginning, and the name of what it trains."""
    from ganeval.training.config import CycleGANConfig, DCGANConfig
    from ganeval.training.cycle_game import CycleGame
    from ganeval.training.dcgan import DCGANGame
    from ganeval.training.judge import Judge
    from ganeval.training.loop import Batches
    from ganeval.training.translation import Yardstick

    if name == "DCGAN":
        width, batch = bench.pick((128, 128), (4, 4))
        images = pictures(bench.pick(2000, 16), 32, 0)
        judge = Judge(None, images, device=str(bench.device))
        config = DCGANConfig(width=width, batch_size=batch, flip=True)
        return DCGANGame(images, config, device=bench.device, judge=judge, about={}), "generator"
    width, blocks = bench.pick((64, 6), (4, 1))
    a, b = (pictures(bench.pick(100, 4), bench.pick(64, 32), seed) for seed in (1, 2))
    config = CycleGANConfig(width=width, blocks=blocks, discriminator_width=width, patch=34, steps=10**6)
    batches = Batches(a, 1, 0, stream="a"), Batches(b, 1, 0, stream="b")
    yardsticks = Yardstick(a, b), Yardstick(b, a)
    return CycleGame(batches, config, yardsticks=yardsticks, device=bench.device, card={}), "generators"


def repeats(bench: Bench) -> Found:
    """The same bits from two runs of one seed?"""
    from ganeval.training.hardware import repeating

    found: Found = {}
    for name in ("DCGAN", "CycleGAN"):
        ends = []
        for _ in range(2):
            played, trained = game(name, bench)
            with repeating("float32"):
                for step in range(bench.pick(12, 2)):
                    played.step(step, measure=False)
            ends.append([p.detach().cpu().clone() for p in getattr(played, trained).parameters()])
        found[name] = {
            "same bits": all(map(torch.equal, *ends)),
            "apart": max(float((p - q).abs().max()) for p, q in zip(*ends, strict=True)),
        }  # fmt: skip
    return found


def whole(bench: Bench) -> Found:
    """``ganeval train dcgan`` with an evaluation, and a run that goes on where it ended."""
    from ganeval.training.dcgan import train_dcgan

    width, batch, images, steps = bench.pick((64, 64, 500, 40), (4, 8, 24, 2))
    with tempfile.TemporaryDirectory(dir=bench.folder) as folder:

        def train(until: int, resume: bool) -> Path:
            return Path(
                train_dcgan(
                    "dataset:shapes:32", Path(folder) / "run", width=width, batch_size=batch, num_samples=images,
                    steps=until, eval_every=steps, eval_samples=bench.pick(300, 16),
                    final_samples=bench.pick(300, 16), sample_every=0, checkpoint_every=steps // 2,
                    device=str(bench.device), resume=resume, metrics=("fid",),
                )
            )  # fmt: skip

        runs: dict[str, Callable[[], Path]] = {
            "s": lambda: train(steps, False), "s of the rest": lambda: train(steps + steps // 2, True),
        }  # fmt: skip
        return {name: bench.clock(run)[1] for name, run in runs.items()}


CHECKS = {"steps a second": speed, "repeats": repeats, "train dcgan": whole}
