"""An ``Evaluator`` as a Lightning callback: at regular epochs or steps, at validation, and at the end of training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from lightning import pytorch as pl
except ImportError:  # the older name of the same library
    import pytorch_lightning as pl  # type: ignore[no-redef]

from ganeval.evaluator import Evaluator
from ganeval.integrations.attempt import Attempts, number_from


class EvaluatorCallback(Attempts, pl.Callback):
    """Evaluate a generator that is part of a LightningModule, and log the values through it.

    Values are logged under names with their number of images (``FID-5k``), so that a final evaluation with more images
    is a separate curve. They are in ``trainer.callback_metrics`` on every rank, where ``ModelCheckpoint`` and
    ``EarlyStopping`` read the values that they monitor. The mode, gradients and random state of the module do not
    change. Every rank must have the callback.

    ``Trainer.validate`` always evaluates, and returns the values with its metrics.

    Args:
        evaluator: the caller creates and closes it.
        generator: the LightningModule -> the model that makes images from latents, such as
            ``lambda module: module.ema``.
        n: number of images, over all ranks.
        every_n_epochs: evaluate at the end of every n-th epoch of training; 0: not at epochs. None: 1, or 0 where
            ``every_n_steps`` or ``at_validation`` is set.
        every_n_steps: evaluate when ``trainer.global_step``, which counts steps of optimizers, has passed a multiple of
            it. These values reach the loggers at once, for any ``log_every_n_steps``. None: not at steps.
        at_validation: also evaluate at the end of every validation inside ``Trainer.fit``, except its sanity check.
        final_n: number of images of a further evaluation at the end of training; None: no such evaluation.
        prefix: of the names in the log.
        on_error: ``raise``: a failed evaluation ends the training. ``warn``: it warns, logs nothing, and training
            continues.

    Attributes:
        last: the last Evaluation, with all that a logger cannot take; None where it failed.

    Raises:
        ConfigError: an argument of another type, or a number below 1.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        generator: Callable[[Any], Any],
        *,
        n: int = 5000,
        every_n_epochs: int | None = None,
        every_n_steps: int | None = None,
        at_validation: bool = False,
        final_n: int | None = None,
        prefix: str = "",
        on_error: str = "raise",
    ) -> None:
        if every_n_epochs is None:
            every_n_epochs = 1 if every_n_steps is None and not at_validation else 0
        super().__init__(evaluator, generator, n=n, on_error=on_error)
        self.every_n_epochs = number_from("every_n_epochs", every_n_epochs, least=0)
        self.every_n_steps = None if every_n_steps is None else number_from("every_n_steps", every_n_steps)
        self.at_validation = at_validation
        self.final_n = None if final_n is None else number_from("final_n", final_n)
        self.prefix = prefix
        self._passed = 0  # multiples of every_n_steps that were evaluated, or that are before the start

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Count from the current step, which a resumed run has kept."""
        if self.every_n_steps is not None:
            self._passed = trainer.global_step // self.every_n_steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """On every rank. Several optimizers take several steps per batch, which can skip a multiple."""
        if self.every_n_steps is None or (passed := trainer.global_step // self.every_n_steps) == self._passed:
            return
        self._passed = passed
        values = self._evaluate(trainer, pl_module, self.n)
        pl_module.log_dict(values, on_step=True, on_epoch=False, logger=False, sync_dist=True)
        self._to_loggers(trainer, values)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """On every rank."""
        if self.every_n_epochs and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            pl_module.log_dict(self._evaluate(trainer, pl_module, self.n), sync_dist=True)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """On every rank; before ``ModelCheckpoint`` reads the values."""
        if trainer.sanity_checking or (trainer.state.fn == "fit" and not self.at_validation):
            return
        pl_module.log_dict(self._evaluate(trainer, pl_module, self.n), sync_dist=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """On every rank; Lightning no longer logs here, so the loggers are called directly."""
        if self.final_n is not None:
            self._to_loggers(trainer, self._evaluate(trainer, pl_module, self.final_n))

    def _evaluate(self, trainer: pl.Trainer, pl_module: pl.LightningModule, n: int) -> dict[str, float]:
        """The values by their names in the log; empty where the evaluation failed."""
        values = self.attempt(lambda: self.generator(pl_module), n, trainer.global_step)
        return {self.prefix + name: value for name, value in values.items()}

    def _to_loggers(self, trainer: pl.Trainer, values: dict[str, float]) -> None:
        step = getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", trainer.global_step)  # as Lightning's own
        for logger in trainer.loggers if values else ():
            logger.log_metrics(values, step=step)
