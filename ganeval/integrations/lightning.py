"""An ``Evaluator`` as a Lightning callback: every so many epochs or steps, at validation, and when training ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from lightning import pytorch as pl
except ImportError:  # the older name of the same library
    import pytorch_lightning as pl  # type: ignore[no-redef]

from ganeval.errors import ConfigError
from ganeval.evaluator import Evaluator
from ganeval.integrations.attempt import attempt, require_on_error
from ganeval.parsing.arguments import WHOLE
from ganeval.results import Evaluation


class EvaluatorCallback(pl.Callback):
    """Evaluate a generator that is part of a LightningModule, and log the values through it.

    Values are logged under names that carry their number of images (``FID-5k``), so that the last evaluation with more
    images is a curve of its own. They are in ``trainer.callback_metrics`` on every rank, where ``ModelCheckpoint`` and
    ``EarlyStopping`` look for what they monitor. The module's mode, gradients and random state are left as they were.
    Every rank must have the callback.

    ``Trainer.validate`` always evaluates, and returns the values among its own.

    Args:
        evaluator: made by you, closed by you.
        generator: the LightningModule -> what makes images of latents, for instance ``lambda module: module.ema``.
        n: images, of all ranks together.
        every_n_epochs: at the end of every so many epochs of training; 0: not at the end of epochs. None: 1, or 0 where
            ``every_n_steps`` or ``at_validation`` says when.
        every_n_steps: whenever ``trainer.global_step``, which counts steps of optimizers, has passed a multiple of it;
            these values reach the loggers at once, whatever the trainer's ``log_every_n_steps``. None: not by steps.
        at_validation: at the end of every validation inside ``Trainer.fit`` too, but not of its sanity check.
        final_n: images at the end of training; None: no other evaluation there.
        prefix: before the names in the log.
        on_error: ``raise``: an evaluation that fails ends the training. ``warn``: it warns, logs nothing, and training
            goes on.

    Attributes:
        last: the last Evaluation, with everything that a logger cannot hold; None where it failed.

    Raises:
        ConfigError: an argument of another kind, or a number below 1.
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
        self.evaluator, self.generator = evaluator, generator
        self.n = _number("n", n)
        self.every_n_epochs = _number("every_n_epochs", every_n_epochs, least=0)
        self.every_n_steps = None if every_n_steps is None else _number("every_n_steps", every_n_steps)
        self.at_validation = at_validation
        self.final_n = None if final_n is None else _number("final_n", final_n)
        self.prefix, self.on_error = prefix, require_on_error(on_error)
        self.last: Evaluation | None = None
        self._passed = 0  # multiples of every_n_steps that were evaluated, or lie before the start

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A run that is resumed goes on where it was."""
        if self.every_n_steps is not None:
            self._passed = trainer.global_step // self.every_n_steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """On every rank. Several optimizers make several steps a batch, which need not meet a multiple."""
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
        """On every rank; before ``ModelCheckpoint`` looks."""
        if trainer.sanity_checking or (trainer.state.fn == "fit" and not self.at_validation):
            return
        pl_module.log_dict(self._evaluate(trainer, pl_module, self.n), sync_dist=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """On every rank; where Lightning logs no more by itself."""
        if self.final_n is not None:
            self._to_loggers(trainer, self._evaluate(trainer, pl_module, self.final_n))

    def _evaluate(self, trainer: pl.Trainer, pl_module: pl.LightningModule, n: int) -> dict[str, float]:
        """The values by their names in the log; empty where the evaluation failed."""
        self.last = attempt(
            self.evaluator, lambda: self.generator(pl_module), n, trainer.global_step, on_error=self.on_error
        )
        values = {} if self.last is None else self.last.flat()
        return {self.prefix + name: value for name, value in values.items()}

    def _to_loggers(self, trainer: pl.Trainer, values: dict[str, float]) -> None:
        step = getattr(trainer.fit_loop.epoch_loop, "_batches_that_stepped", trainer.global_step)  # as Lightning's own
        for logger in trainer.loggers if values else ():
            logger.log_metrics(values, step=step)


def _number(name: str, value: object, *, least: int = 1) -> int:
    number: int = WHOLE(name, value)
    if number < least:
        raise ConfigError(f"{name} must be a whole number from {least} on; got {number}.")
    return number
