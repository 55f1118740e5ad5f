"""Log metrics while a generator trains: TensorBoard, Weights & Biases, MLflow, or a file of JSON lines.

    python examples/log_while_training.py

``Evaluator(log=...)`` takes any function of a flat dictionary and a step, called by the first rank alone. The names in
it carry network and number of images (``FID-5k``), so that curves of other numbers of images never mix. ganeval imports
none of these libraries: each recipe below is a function to copy.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import ganeval

Log = Callable[[dict[str, float], int], None]


def to_tensorboard(folder: str) -> Log:
    """Needs ``tensorboard``: ``tensorboard --logdir FOLDER`` shows the curves."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder)

    def log(values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return log


def to_wandb(run: Any) -> Log:
    """``run`` is what ``wandb.init(...)`` gave."""
    return lambda values, step: run.log(values, step=step)


def to_mlflow(mlflow: Any) -> Log:
    """``mlflow`` is the module, with a run that has begun."""
    return lambda values, step: mlflow.log_metrics(values, step=step)


def to_lines(path: str | Path) -> Log:
    """One JSON document a line, appended: nothing to install, nothing to lose."""

    def log(values: dict[str, float], step: int) -> None:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    return log


class Discs(nn.Module):
    """Stands for your generator: discs whose colours it learns."""

    latent_dim, value_range = 6, (-1.0, 1.0)

    def __init__(self, size: int = 16) -> None:
        super().__init__()
        line = torch.linspace(-1, 1, size)
        self.register_buffer("inside", (line[:, None] ** 2 + line**2 < 0.5).float())
        self.colours = nn.Linear(6, 6)

    def forward(self, z: Tensor) -> Tensor:
        """(N, 6) to (N, 3, size, size)."""
        ground, disc = torch.tanh(self.colours(z))[:, :, None, None].split(3, dim=1)
        return disc * self.inside + ground * (1 - self.inside)


def train(log: Log, *, epochs: int = 3, n: int = 200, final_n: int = 400) -> list[ganeval.Evaluation]:
    """The two tiers: few images at every epoch to see where it goes, more at the end for the number that counts."""
    torch.manual_seed(0)
    generator = Discs()
    optimiser = torch.optim.Adam(generator.parameters(), 0.05)
    found = []
    options = {"num_samples": 400, "protocol": "compact", "metrics": ("fid", "kid")}
    with ganeval.Evaluator("dataset:shapes:16", log=log, **options) as e:
        for epoch in range(epochs):
            for _ in range(20):
                loss = generator(torch.randn(32, 6)).mean((0, 2, 3)).square().sum()  # stands for your loss
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            e.reset()  # the fakes; the reference stays
            e.update_from(generator, n)  # the same latents at every epoch
            found.append(e.compute(epoch))
        e.update_from(generator, final_n - n)  # go on from there
        found.append(e.compute(epochs))
    return found


if __name__ == "__main__":
    for evaluation in train(to_lines(sys.argv[1] if len(sys.argv) > 1 else "metrics.jsonl")):
        print(evaluation["fid"])
