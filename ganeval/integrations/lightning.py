"""An ``Evaluator`` as a Lightning callback: every so many epochs, and once more at the end with more images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from lightning import pytorch as pl
except ImportError:  # the older name of the same library
    import pytorch_lightning as pl  # type: ignore[no-redef]

from ganeval.errors import ConfigError
from ganeval.evaluator import Evaluator
from ganeval.results import Evaluation


class EvaluatorCallback(pl.Callback):
    """Evaluate a generator that is part of a LightningModule, and log the values through it.

    Values are logged under names that carry their number of images (``FID-5k``), so that the last evaluation with more
    images is a curve of its own. The module's mode, gradients and random state are left as they were.

    Args:
        evaluator: made by you, closed by you.
        generator: the LightningModule -> what makes images of latents, for instance ``lambda module: module.ema``.
        n: images, of all ranks together.
        every_n_epochs: how often.
        final_n: images at the end of training; None: no other evaluation there.
        prefix: before the names in the log.

    Attributes:
        last: the last Evaluation, with everything that a logger cannot hold.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        generator: Callable[[Any], Any],
        *,
        n: int = 5000,
        every_n_epochs: int = 1,
        final_n: int | None = None,
        prefix: str = "",
    ) -> None:
        if every_n_epochs < 1:
            raise ConfigError(f"every_n_epochs is a number from 1 on; got {every_n_epochs}.")
        self.evaluator, self.generator, self.n, self.every, self.final_n = (
            evaluator,
            generator,
            n,
            every_n_epochs,
            final_n,
        )
        self.prefix = prefix
        self.last: Evaluation | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """On every rank."""
        if (trainer.current_epoch + 1) % self.every == 0:
            flat = self._evaluate(trainer, pl_module, self.n)
            pl_module.log_dict(flat, rank_zero_only=True)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """On every rank; where Lightning logs no more by itself."""
        if self.final_n is not None:
            flat = self._evaluate(trainer, pl_module, self.final_n)
            for logger in trainer.loggers:
                logger.log_metrics(flat, step=trainer.global_step)

    def _evaluate(self, trainer: pl.Trainer, pl_module: pl.LightningModule, n: int) -> dict[str, float]:
        self.evaluator.reset()
        self.evaluator.update_from(self.generator(pl_module), n)
        self.last = self.evaluator.compute(trainer.global_step)
        return {self.prefix + name: value for name, value in self.last.flat().items()}
