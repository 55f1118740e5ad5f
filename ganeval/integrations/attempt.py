"""One evaluation inside a training loop: a failure in it need not end the training."""

from __future__ import annotations

from collections.abc import Callable

from ganeval.errors import ConfigError, warn
from ganeval.evaluator import Evaluator
from ganeval.parsing.arguments import WHOLE
from ganeval.results import Evaluation

ON_ERROR = ("raise", "warn")


def require_on_error(on_error: str) -> str:
    """Return the argument; raise ConfigError unless it is ``raise`` or ``warn``."""
    if on_error not in ON_ERROR:
        raise ConfigError(f"on_error must be 'raise' or 'warn'; got {on_error!r}.")
    return on_error


def number_from(name: str, value: object, *, least: int = 1) -> int:
    """A whole number of at least ``least``; raise ConfigError for another value."""
    number: int = WHOLE(name, value)
    if number < least:
        raise ConfigError(f"{name} is {number}; expected a whole number of at least {least}.")
    return number


def attempt(
    evaluator: Evaluator, generator: Callable[[], object], n: int, step: int, *, on_error: str
) -> Evaluation | None:
    """Evaluate ``n`` new images of a generator.

    Every rank makes the call. A failure on one rank is a failure on all of them, so that all continue alike.

    Args:
        generator: returns the generator; an exception in it counts as a failure of the evaluation.
        on_error: ``raise``, or ``warn``: any exception becomes a GanEvalWarning, and the result is None.
    """
    try:
        evaluator.reset()
        with evaluator.together("the generator"):
            made = generator()
        evaluator.update_from(made, n)
        return evaluator.compute(step)
    except Exception as error:
        if on_error == "raise":
            raise
        kind = type(error).__name__
        warn([f"the evaluation at step {step} failed, and training continues: {kind}: {error}"])
        return None
