"""An ``Evaluator`` as an Ignite handler: attached to an engine's event, results in ``engine.state.metrics``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events

from ganeval.evaluator import Evaluator
from ganeval.integrations.attempt import Attempts


class EvaluatorHandler(Attempts):
    """Evaluate a generator whenever an event of an engine fires.

    Values are in ``engine.state.metrics`` under names with their number of images (``FID-5k``), where Ignite's loggers
    and checkpoints find them. Every rank must run the handler.

    Args:
        evaluator: the caller creates and closes it.
        generator: makes images from latents; or, with ``of_engine``, a function of the engine that returns it.
        n: number of images, over all ranks.
        of_engine: ``generator`` is such a function.
        on_error: ``raise``: a failed evaluation ends the run. ``warn``: it warns, the previous values are removed from
            ``engine.state.metrics``, and the run continues.

    Attributes:
        last: the last Evaluation, with all that a logger cannot take; None where it failed.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        generator: Callable[..., Any],
        *,
        n: int = 5000,
        of_engine: bool = False,
        on_error: str = "raise",
    ) -> None:
        super().__init__(evaluator, generator, n=n, on_error=on_error)
        self.of_engine = of_engine

    def attach(self, engine: Engine, event: Any = Events.EPOCH_COMPLETED) -> None:
        """Run at ``event``: ``Events.EPOCH_COMPLETED(every=5)``, or ``Events.ITERATION_COMPLETED(every=1000)``."""
        engine.add_event_handler(event, self)

    def __call__(self, engine: Engine) -> None:
        before = {} if self.last is None else self.last.flat()
        values = self.attempt(
            lambda: self.generator(engine) if self.of_engine else self.generator, self.n, engine.state.iteration
        )
        for name in before:  # an old value must not look like one of this step
            engine.state.metrics.pop(name, None)
        engine.state.metrics.update(values)
