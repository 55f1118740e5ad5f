"""An ``Evaluator`` as a callback of the Trainer of transformers, and of trainers that call back alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from ganeval.evaluator import Evaluator
from ganeval.integrations.attempt import Attempts, number_from


class EvaluatorTrainerCallback(Attempts, TrainerCallback):
    """Evaluate a generator when the Trainer evaluates, and at regular steps if you like.

    Values are in ``state.log_history`` under names with their number of images (``FID-5k``). At an evaluation of the
    Trainer they are also among its metrics as ``eval_FID-5k``, where ``metric_for_best_model`` finds them. A logger of
    its own is the ``log`` of the ``Evaluator``. Every rank must have the callback.

    Args:
        evaluator: the caller creates and closes it.
        generator: the model that is trained, without its wrappers -> what makes images from latents.
        n: number of images, over all ranks.
        every_n_steps: evaluate when ``state.global_step`` is a multiple of it; None: not at steps.
        at_evaluation: evaluate at every evaluation of the Trainer.
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
        every_n_steps: int | None = None,
        at_evaluation: bool = True,
        on_error: str = "raise",
    ) -> None:
        super().__init__(evaluator, generator, n=n, on_error=on_error)
        self.every_n_steps = None if every_n_steps is None else number_from("every_n_steps", every_n_steps)
        self.at_evaluation = at_evaluation

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        """On every rank."""
        if self.every_n_steps is not None and state.global_step % self.every_n_steps == 0:
            self._evaluate(state, model)

    def on_evaluate(
        self, args: Any, state: Any, control: Any, model: Any = None, metrics: Any = None, **others: Any
    ) -> None:
        """On every rank, before the Trainer looks for the best model."""
        if self.at_evaluation:
            values = self._evaluate(state, model)
            if metrics is not None:
                metrics.update({f"eval_{name}": value for name, value in values.items()})

    def _evaluate(self, state: Any, model: Any) -> dict[str, float]:
        """The values by their names in the log; empty where the evaluation failed."""
        values = self.attempt(lambda: self.generator(getattr(model, "module", model)), self.n, state.global_step)
        if values:
            state.log_history.append({**values, "epoch": state.epoch, "step": state.global_step})
        return values
