"""The thin adapters, each against the real library."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.ranks import dots, image_sets
from torch import nn

from ganeval import Evaluator
from ganeval.errors import ConfigError

ON: dict[str, Any] = {"protocol": "compact", "device": "cpu", "batch_size": 16}
REAL, FAKE = image_sets()


@pytest.fixture
def evaluator() -> Iterator[Evaluator]:
    with Evaluator(REAL, metrics=("fid", "kid"), value_range=(-1, 1), **ON) as one:
        yield one


def expected_of(model: nn.Module, n: int) -> dict[str, float]:
    with Evaluator(REAL, metrics=("fid", "kid"), **ON) as one:
        one.update_from(model, n)
        return one.compute().flat()


def test_the_package_imports_none_of_them() -> None:
    code = (
        "import sys, ganeval; ganeval.Evaluator; "
        "found = {'torchmetrics', 'lightning', 'pytorch_lightning', 'ignite', 'wandb', 'mlflow'} & set(sys.modules); "
        "assert not found, found"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_torchmetrics(evaluator: Evaluator) -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    from ganeval.integrations.torchmetrics import EvaluatorMetric

    metric = EvaluatorMetric(evaluator)
    collection = torchmetrics.MetricCollection(
        {"images": metric, "mean": torchmetrics.MeanMetric()}, compute_groups=False
    )
    images = torch.from_numpy(FAKE).permute(0, 3, 1, 2)
    for part in images.split(50):
        metric.update(part)
    found = metric.compute()
    evaluation = evaluator.compute()
    assert {name: float(value) for name, value in found.items()} == evaluation.flat()
    assert all(value.dtype == torch.float64 for value in found.values())
    assert not list(collection.parameters())
    assert collection.state_dict() == {}
    metric.update(images[:10])
    assert evaluator.n == len(FAKE) + 10
    metric.reset()
    assert evaluator.n == 0
    with pytest.raises(ConfigError, match="a batch alone has no such metric"):
        metric(images)
    with pytest.raises(ConfigError, match="not copied"):
        metric.clone()


@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_lightning(evaluator: Evaluator, tmp_path: Path) -> None:
    pl = pytest.importorskip("lightning.pytorch")
    from lightning.pytorch.loggers import CSVLogger

    from ganeval.integrations.lightning import EvaluatorCallback

    class GAN(pl.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.generator = dots()

        def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
            loss: torch.Tensor = self.generator(batch).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(callbacks: list[Any], name: str) -> tuple[GAN, Any]:
        pl.seed_everything(0)
        logger = CSVLogger(tmp_path, name=name)
        trainer = pl.Trainer(
            max_epochs=4, accelerator="cpu", devices=1, logger=logger, callbacks=callbacks, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=1,
        )  # fmt: skip
        module = GAN()
        trainer.fit(module, torch.utils.data.DataLoader(torch.randn(24, 5), 8, shuffle=True))
        return module, trainer

    callback = EvaluatorCallback(
        evaluator, lambda module: module.generator, n=40, every_n_epochs=2, final_n=60, prefix="eval/"
    )
    module, trainer = fit([callback], "with")
    alone, _ = fit([], "without")
    for a, b in zip(module.state_dict().values(), alone.state_dict().values(), strict=True):
        assert torch.equal(a, b)  # training did not notice
    assert set(module.state_dict()) == set(alone.state_dict())
    rows = (Path(trainer.logger.log_dir) / "metrics.csv").read_text().splitlines()
    names = rows[0].split(",")
    column = names.index("eval/FD-compact-v1-40")
    assert len([row for row in rows[1:] if row.split(",")[column]]) == 2
    final = expected_of(module.generator, 60)
    at_end = [row.split(",")[names.index("eval/FD-compact-v1-60")] for row in rows[1:]]
    assert [float(value) for value in at_end if value] == [pytest.approx(final["FD-compact-v1-60"], rel=1e-9)]
    assert callback.last is not None
    assert callback.last.fake["n"] == 60
    with pytest.raises(ConfigError, match="from 1 on; got 0"):
        EvaluatorCallback(evaluator, lambda module: module, every_n_epochs=0)


def test_ignite(evaluator: Evaluator) -> None:
    pytest.importorskip("ignite")
    from ignite.engine import Engine, Events

    from ganeval.integrations.ignite import EvaluatorHandler

    model = dots()
    seen: list[dict[str, float]] = []
    trainer = Engine(lambda engine, batch: None)
    handler = EvaluatorHandler(evaluator, model, n=40)
    handler.attach(trainer, Events.EPOCH_COMPLETED(every=2))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: seen.append(dict(engine.state.metrics)))
    trainer.run([0, 1], max_epochs=2)
    assert seen[0] == {}
    assert seen[1] == expected_of(model, 40)
    assert model.training
    of_engine = EvaluatorHandler(evaluator, lambda engine: engine.state.generator, n=40, of_engine=True)
    trainer.state.generator = model
    of_engine(trainer)
    assert of_engine.last is not None
    assert of_engine.last.flat() == seen[1]
