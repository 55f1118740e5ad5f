"""An ``Evaluator`` as an Ignite handler: attached to an engine's event, results in ``engine.state.metrics``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ignite.engine import Engine, Events

from ganeval.evaluator import Evaluator
from ganeval.results import Evaluation


class EvaluatorHandler:
    """Evaluate a generator whenever an event of an engine fires.

    Values stand in ``engine.state.metrics`` under names that carry their number of images (``FID-5k``), where Ignite's
    loggers and checkpoints find them. Every rank must run the handler.

    Args:
        evaluator: made by you, closed by you.
        generator: what makes images of latents; or, with ``of_engine``, a function of the engine that gives it.
        n: images, of all ranks together.
        of_engine: ``generator`` is such a function.

    Attributes:
        last: the last Evaluation, with everything that a logger cannot hold.
    """

    def __init__(
        self, evaluator: Evaluator, generator: Callable[..., Any], *, n: int = 5000, of_engine: bool = False
    ) -> None:
        self.evaluator, self.generator, self.n, self.of_engine = evaluator, generator, n, of_engine
        self.last: Evaluation | None = None

    def attach(self, engine: Engine, event: Any = Events.EPOCH_COMPLETED) -> None:
        """Run at ``event``, for instance ``Events.EPOCH_COMPLETED(every=5)``."""
        engine.add_event_handler(event, self)

    def __call__(self, engine: Engine) -> None:
        self.evaluator.reset()
        self.evaluator.update_from(self.generator(engine) if self.of_engine else self.generator, self.n)
        self.last = self.evaluator.compute(engine.state.iteration)
        engine.state.metrics.update(self.last.flat())
