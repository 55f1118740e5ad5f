"""Log while a generator trains: metrics, a grid of images, a table and the report, to each service that is installed.

    python examples/log_while_training.py [FOLDER]

``Evaluator(log=...)`` takes any function of a flat dictionary and a step, called by the first rank alone. The names in
it carry network and number of images (``FID-5k``), so that curves of other numbers of images never mix. ganeval imports
none of these libraries: each class below is a recipe to copy. Its other methods are called by your loop, on the first
rank alone.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.utils import make_grid

import ganeval
from ganeval.report.page import Subject, write_report
from ganeval.result_files import Record

COLUMNS = ("label", "value", "low", "high", "level", "n_fake")  # of the table, of all that ``to_records`` has
Row = dict[str, object]


class Logger(Protocol):
    """What every recipe does."""

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Curves: what an ``Evaluator`` gives its ``log``."""

    def images(self, grid: Tensor, step: int) -> None:
        """One picture: uint8 (3, H, W)."""

    def table(self, rows: Sequence[Row], step: int) -> None:
        """The metrics with the ends of their intervals, which are None where there is no interval."""

    def report(self, page: Path) -> None:
        """The HTML file, as it is."""

    def close(self) -> None:
        """Write what is left."""


class Files:
    """Files in a folder: nothing to install, nothing to lose. Lines are appended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def numbers(self, values: dict[str, float], step: int) -> None:
        self._append("metrics.jsonl", {"step": step, **values})

    def images(self, grid: Tensor, step: int) -> None:
        Image.fromarray(grid.permute(1, 2, 0).numpy()).save(self.folder / f"samples-{step}.png")

    def table(self, rows: Sequence[Row], step: int) -> None:
        for row in rows:
            self._append("table.jsonl", {"step": step, **row})

    def report(self, page: Path) -> None:
        if page.parent != self.folder:
            shutil.copy(page, self.folder)

    def close(self) -> None:
        pass

    def _append(self, name: str, line: Row | dict[str, float]) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


class TensorBoard:
    """``tensorboard --logdir FOLDER`` shows curves, images and, as text, tables; it has no place for files."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder / "tensorboard"
        self.writer = SummaryWriter(str(self.folder))

    def numbers(self, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def images(self, grid: Tensor, step: int) -> None:
        self.writer.add_image("samples", grid, step)

    def table(self, rows: Sequence[Row], step: int) -> None:
        lines = [COLUMNS, ["---"] * len(COLUMNS), *([str(row[name]) for name in COLUMNS] for row in rows)]
        self.writer.add_text("metrics", "\n".join(f"| {' | '.join(line)} |" for line in lines), step)

    def report(self, page: Path) -> None:
        target = shutil.copy(page, self.folder)
        self.writer.add_text("report", f"The report is the file `{target}`.")

    def close(self) -> None:
        self.writer.close()


class WeightsAndBiases:
    """Your run, where one has begun; else a new one, offline unless WANDB_MODE says ``online``."""

    def __init__(self, folder: Path) -> None:
        import wandb

        self.wandb, mode = wandb, os.environ.get("WANDB_MODE", "offline")
        self.run = wandb.run or wandb.init(project="ganeval", dir=str(folder), mode=mode)

    def numbers(self, values: dict[str, float], step: int) -> None:
        self.run.log(values, step=step)

    def images(self, grid: Tensor, step: int) -> None:
        pixels = grid.permute(1, 2, 0).numpy()
        self.run.log({"samples": self.wandb.Image(pixels, caption=f"step {step}")}, step=step)

    def table(self, rows: Sequence[Row], step: int) -> None:
        cells = [[row[name] for name in COLUMNS] for row in rows]
        self.run.log({"metrics": self.wandb.Table(columns=list(COLUMNS), data=cells)}, step=step)

    def report(self, page: Path) -> None:
        artifact = self.wandb.Artifact("ganeval-report", type="report")
        artifact.add_file(str(page))
        self.run.log_artifact(artifact)

    def close(self) -> None:
        self.run.finish()


class MLflow:
    """Your run, where one has begun; else a new one. MLFLOW_TRACKING_URI names the server or the file."""

    def __init__(self, folder: Path) -> None:
        import mlflow

        self.mlflow = mlflow
        if mlflow.active_run() is None:
            mlflow.start_run()

    def numbers(self, values: dict[str, float], step: int) -> None:
        self.mlflow.log_metrics(values, step=step)

    def images(self, grid: Tensor, step: int) -> None:
        self.mlflow.log_image(grid.permute(1, 2, 0).numpy(), key="samples", step=step)

    def table(self, rows: Sequence[Row], step: int) -> None:
        columns = {"step": [step] * len(rows), **{name: [row[name] for row in rows] for name in COLUMNS}}
        self.mlflow.log_table(columns, "metrics.json")  # rows are added to those of earlier steps

    def report(self, page: Path) -> None:
        self.mlflow.log_artifact(str(page))

    def close(self) -> None:
        self.mlflow.end_run()


def available(folder: Path) -> list[Logger]:
    """Files, and every service whose library imports; one line names the others."""
    found: list[Logger] = [Files(folder)]
    missing = []
    for recipe in (TensorBoard, WeightsAndBiases, MLflow):
        try:
            found.append(recipe(folder))
        except ImportError as error:
            missing.append(error.name or recipe.__name__)
    if missing:
        print(f"nothing is logged to {', '.join(missing)}: not installed")
    return found


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


@torch.no_grad()
def grid_of(generator: nn.Module, n: int = 32) -> Tensor:
    """Images of the same latents at every step, in one picture: uint8 (3, H, W)."""
    latents = torch.randn(n, 6, generator=torch.Generator().manual_seed(0))  # and the training's numbers stay the same
    return make_grid(((generator(latents) + 1) * 127.5).round().clamp(0, 255)).to(torch.uint8)


def train(
    loggers: Sequence[Logger], page: Path, *, epochs: int = 3, n: int = 200, final_n: int = 400
) -> list[ganeval.Evaluation]:
    """The two tiers: few images at every epoch to see where it goes, more at the end for the number that counts."""
    torch.manual_seed(0)
    generator = Discs()
    optimiser = torch.optim.Adam(generator.parameters(), 0.05)
    found: list[ganeval.Evaluation] = []

    def log(values: dict[str, float], step: int) -> None:
        for logger in loggers:
            logger.numbers(values, step)

    def show(step: int) -> None:
        rows = [{name: record[name] for name in COLUMNS} for record in found[-1].to_records()]
        for logger in loggers:
            logger.images(grid_of(generator), step)
            logger.table(rows, step)

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
            show(epoch)
        e.update_from(generator, final_n - n)  # go on from there
        found.append(e.compute(epochs))
        show(epochs)
    write_report(page, [Subject(record=Record.of(one, f"step {step}")) for step, one in enumerate(found)])
    for logger in loggers:
        logger.report(page)
        logger.close()
    return found


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "logged")
    target.mkdir(parents=True, exist_ok=True)
    for evaluation in train(available(target), target / "report.html"):
        print(evaluation["fid"])
