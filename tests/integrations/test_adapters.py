"""The thin adapters, each against the real library."""

from __future__ import annotations

import copy
import pickle
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
from ganeval.errors import ConfigError, GanEvalWarning, InputError

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
    with pytest.raises(ConfigError, match="a single batch has no value"):
        metric(images)
    with pytest.raises(ConfigError, match="cannot be pickled. Save what state_dict"):
        pickle.dumps(metric)


def test_torchmetrics_clones(evaluator: Evaluator) -> None:
    torchmetrics = pytest.importorskip("torchmetrics")
    from ganeval.integrations.torchmetrics import EvaluatorMetric

    images = torch.from_numpy(FAKE).permute(0, 3, 1, 2)
    training = torchmetrics.MetricCollection({"fakes": EvaluatorMetric(evaluator)}, compute_groups=False)
    training.update(images[:60])
    validation = training.clone(prefix="val_")
    validation.reset()
    validation.update(images[60:])
    names = {f"FD-compact-v1-{n}": n for n in (60, len(FAKE) - 60)}
    assert set(names) & set(training.compute()) == {"FD-compact-v1-60"}
    assert any(name.startswith("val_") and name.endswith(f"-{len(FAKE) - 60}") for name in validation.compute())
    assert evaluator.n == 60
    copied = copy.deepcopy(evaluator)  # with the fakes so far, as torchmetrics copies states
    assert copied.compute().flat() == evaluator.compute().flat()
    copied.close()
    assert evaluator.compute()["fid"].n_fake == 60  # reference and networks are still there
    evaluator.close()
    with pytest.raises(ConfigError, match="this Evaluator was closed"):
        validation["fakes"].evaluator.compute()


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
    for name in ("every_n_steps", "n", "final_n"):
        with pytest.raises(ConfigError, match=f"{name} is 0; expected a whole number of at least 1"):
            EvaluatorCallback(evaluator, lambda module: module, **{name: 0})
    with pytest.raises(ConfigError, match="every_n_epochs must be a whole number; got 2.5"):
        EvaluatorCallback(evaluator, lambda module: module, every_n_epochs=2.5)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore")  # Lightning's own
@pytest.mark.parametrize("steps_a_batch", [1, 2])
def test_lightning_by_steps_and_at_validation(evaluator: Evaluator, tmp_path: Path, steps_a_batch: int) -> None:
    pl = pytest.importorskip("lightning.pytorch")
    from lightning.pytorch.callbacks import ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    from ganeval.integrations.lightning import EvaluatorCallback

    class GAN(pl.LightningModule):  # type: ignore[misc,name-defined]
        automatic_optimization = False

        def __init__(self) -> None:
            super().__init__()
            self.generator = dots()

        def training_step(self, batch: torch.Tensor, _: int) -> None:
            optimizers = self.optimizers()
            for optimizer in optimizers if isinstance(optimizers, list) else [optimizers]:
                optimizer.zero_grad()
                self.manual_backward(self.generator(batch).square().mean())
                optimizer.step()

        def validation_step(self, batch: torch.Tensor, _: int) -> None:
            self.log("mean", batch.mean())

        def configure_optimizers(self) -> list[torch.optim.Optimizer]:
            return [torch.optim.SGD(self.parameters(), 0.1) for _ in range(steps_a_batch)]

    steps: list[int] = []
    evaluator.log = lambda _, step: steps.append(step)
    callback = EvaluatorCallback(
        evaluator, lambda module: module.generator, n=40, every_n_steps=3, at_validation=True, prefix="eval/"
    )
    best = ModelCheckpoint(tmp_path / "best", monitor="eval/FD-compact-v1-40")
    loader = torch.utils.data.DataLoader(torch.randn(24, 5), 4)  # 6 batches
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", devices=1, logger=CSVLogger(tmp_path), callbacks=[callback, best],
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    module = GAN()
    trainer.fit(module, loader, loader)
    by_steps = {1: [3, 6, 9, 12], 2: [4, 6, 10, 12, 16, 18, 22, 24]}[steps_a_batch]
    at_validation = [6 * steps_a_batch, 12 * steps_a_batch]
    assert sorted(steps) == sorted(by_steps + at_validation)  # and none at the ends of epochs, or in the sanity check
    assert best.best_model_score is not None
    rows = (Path(trainer.logger.log_dir) / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("eval/FD-compact-v1-40")
    logged = [row for row in rows[1:] if row.split(",")[column]]
    assert len(logged) >= len(by_steps)  # log_every_n_steps is 50
    at_end = float(trainer.callback_metrics["eval/FD-compact-v1-40"])
    assert at_end == pytest.approx(expected_of(module.generator, 40)["FD-compact-v1-40"], rel=1e-5)
    del steps[:]
    (found,) = trainer.validate(module, loader, verbose=False)
    assert found["eval/FD-compact-v1-40"] == pytest.approx(at_end, rel=1e-5)
    assert steps == [12 * steps_a_batch]


class Breaks(nn.Module):
    """Makes NaN in every other evaluation."""

    latent_dim, value_range = 5, (-1.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm, self.breaks = dots(), nn.BatchNorm1d(5), True

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        images: torch.Tensor = self.inner(self.norm(z))
        return images * float("nan") if self.breaks and not self.training else images


@pytest.mark.filterwarnings("ignore")  # Lightning's own
def test_lightning_goes_on_after_a_failure(evaluator: Evaluator) -> None:
    pl = pytest.importorskip("lightning.pytorch")
    from ganeval.integrations.lightning import EvaluatorCallback

    class GAN(pl.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.generator = Breaks()

        def training_step(self, batch: torch.Tensor, _: int) -> torch.Tensor:
            assert self.generator.training
            self.generator.breaks = self.global_step < 2
            loss: torch.Tensor = self.generator(batch).square().mean()
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.1)

    def fit(callbacks: list[Any]) -> tuple[GAN, Any]:
        pl.seed_everything(0)
        trainer = pl.Trainer(
            max_epochs=1, accelerator="cpu", devices=1, logger=False, callbacks=callbacks, enable_progress_bar=False,
            enable_model_summary=False, enable_checkpointing=False,
        )  # fmt: skip
        module = GAN()
        trainer.fit(module, torch.utils.data.DataLoader(torch.randn(24, 5), 6))
        return module, trainer

    options: dict[str, Any] = {"n": 40, "every_n_steps": 2}
    with pytest.warns(GanEvalWarning, match="evaluation at step 2 failed, and training continues: InputError: .*NaN"):
        module, trainer = fit([EvaluatorCallback(evaluator, lambda m: m.generator, on_error="warn", **options)])
    assert trainer.global_step == 4
    assert "FD-compact-v1-40" in trainer.callback_metrics  # of step 4
    alone, _ = fit([])
    for a, b in zip(module.state_dict().values(), alone.state_dict().values(), strict=True):
        assert torch.equal(a, b)  # running means of the batch norm too
    assert module.generator.training
    with pytest.raises(InputError, match="NaN"):
        fit([EvaluatorCallback(evaluator, lambda m: m.generator, **options)])
    with pytest.raises(ConfigError, match="on_error must be 'raise' or 'warn'; got 'skip'"):
        EvaluatorCallback(evaluator, lambda m: m, on_error="skip")


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


def test_ignite_by_iterations_and_after_a_failure(evaluator: Evaluator) -> None:
    pytest.importorskip("ignite")
    from ignite.engine import Engine, Events

    from ganeval.integrations.ignite import EvaluatorHandler

    model, steps = Breaks(), list[int]()
    evaluator.log = lambda _, step: steps.append(step)
    trainer = Engine(lambda engine, batch: setattr(model, "breaks", 4 <= engine.state.iteration < 6))
    handler = EvaluatorHandler(evaluator, model, n=40, on_error="warn")
    handler.attach(trainer, Events.ITERATION_COMPLETED(every=2))
    names: list[bool] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED(every=2), lambda engine: names.append("FD-compact-v1-40" in engine.state.metrics)
    )
    with pytest.warns(GanEvalWarning, match="evaluation at step 4 failed, and training continues: InputError: .*NaN"):
        trainer.run([0] * 6, max_epochs=1)
    assert steps == [2, 6]
    assert names == [True, False, True]  # no old value under a new step
    assert model.training
    model.breaks = True
    with pytest.raises(InputError, match="NaN"):
        EvaluatorHandler(evaluator, model, n=40)(trainer)
    with pytest.raises(ConfigError, match="on_error must be"):
        EvaluatorHandler(evaluator, model, on_error="stop")
    with pytest.raises(ConfigError, match="n is 0; expected a whole number of at least 1"):
        EvaluatorHandler(evaluator, model, n=0)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")  # the library's own
def test_the_trainer_of_transformers(evaluator: Evaluator, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from ganeval.integrations.transformers import EvaluatorTrainerCallback

    class GAN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.generator = Breaks()

        def forward(self, z: torch.Tensor) -> dict[str, torch.Tensor]:
            images: torch.Tensor = self.generator(z)
            return {"loss": images.square().mean(), "images": images.detach()}

    class Spoils(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
        """Before the others: the generator makes NaN until step 3."""

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            model.generator.breaks = state.global_step < 3

    def fit(callbacks: list[Any], name: str) -> tuple[GAN, Any]:
        torch.manual_seed(0)
        data = [{"z": z} for z in torch.randn(24, 5)]
        options = transformers.TrainingArguments(
            str(tmp_path / name), max_steps=6, per_device_train_batch_size=4, report_to=[], use_cpu=True, seed=0,
            eval_strategy="steps", eval_steps=3, save_strategy="steps", save_steps=3, logging_steps=100,
            load_best_model_at_end=bool(callbacks),
            metric_for_best_model="FD-compact-v1-40" if callbacks else None, greater_is_better=False,
            remove_unused_columns=False, disable_tqdm=True,
        )  # fmt: skip
        module = GAN()
        trainer = transformers.Trainer(
            module, options, train_dataset=data, eval_dataset=data[:4], callbacks=[Spoils(), *callbacks]
        )
        trainer.train()
        return module, trainer

    callback = EvaluatorTrainerCallback(
        evaluator, lambda model: model.generator, n=40, every_n_steps=2, on_error="warn"
    )
    with pytest.warns(GanEvalWarning, match="evaluation at step 2 failed, and training continues: InputError: .*NaN"):
        _, trainer = fit([callback], "with")
    assert trainer.state.global_step == 6
    logged = [entry["step"] for entry in trainer.state.log_history if "FD-compact-v1-40" in entry]
    assert logged == [3, 4, 6, 6]  # by steps 4 and 6, at the Trainer's evaluations 3 and 6
    assert trainer.state.best_metric == min(
        entry["FD-compact-v1-40"]
        for entry in trainer.state.log_history
        if entry.get("step") in (3, 6) and "FD-compact-v1-40" in entry
    )
    with pytest.raises(InputError, match="NaN"):
        fit([EvaluatorTrainerCallback(evaluator, lambda model: model.generator, n=40, every_n_steps=2)], "raises")
    with pytest.raises(ConfigError, match="n is 0"):
        EvaluatorTrainerCallback(evaluator, lambda model: model, n=0)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore")  # the libraries' own
@pytest.mark.parametrize("wrapper", ["fabric", "accelerate", "compiled", "fsdp2"])
def test_wrapped_generators_give_the_same_value(evaluator: Evaluator, wrapper: str, tmp_path: Path) -> None:
    """As they come out of each library on one process; the ranks of FSDP2 are one, whose parameters are DTensors."""
    import torch.distributed as dist

    model = dots()
    expected = expected_of(model, 40)["FD-compact-v1-40"]
    plain = [parameter.detach().clone() for parameter in model.parameters()]
    if wrapper == "fabric":
        fabric = pytest.importorskip("lightning.fabric").Fabric(accelerator="cpu", devices=1)
        made = fabric.setup_module(model)
    elif wrapper == "accelerate":
        made = pytest.importorskip("accelerate").Accelerator(cpu=True).prepare(model)
    elif wrapper == "compiled":
        made = torch.compile(model, backend="aot_eager")
    else:
        from torch.distributed.fsdp import fully_shard

        dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
        made = fully_shard(model)
    try:
        evaluator.update_from(made, 40)
        found = evaluator.compute()["fid"].value
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    assert found == pytest.approx(expected, rel=1e-6)
    if wrapper != "fsdp2":
        assert all(torch.equal(a, b) for a, b in zip(plain, model.parameters(), strict=True))
