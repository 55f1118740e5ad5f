"""One evaluation inside a training loop: a failure in it need not end the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganeval.errors import ConfigError, warn
from ganeval.evaluator import Evaluator
from ganeval.parsing.arguments import WHOLE
from ganeval.results import Evaluation

ON_ERROR = ("raise", "warn")


def number_from(name: str, value: object, *, least: int = 1) -> int:
    """A whole number of at least ``least``; raise ConfigError for another value."""
    number: int = WHOLE(name, value)
    if number < least:
        raise ConfigError(f"{name} is {number}; expected a whole number of at least {least}.")
    return number


class Attempts:
    """What the callbacks of all trainers have in common: whom they ask, for how many images, and the last answer.

    Attributes:
        last: the last Evaluation, with all that a logger cannot take; None where it failed.
    """

    def __init__(self, evaluator: Evaluator, generator: Callable[..., Any], *, n: int, on_error: str) -> None:
        if on_error not in ON_ERROR:
            raise ConfigError(f"on_error must be 'raise' or 'warn'; got {on_error!r}.")
        self.evaluator, self.generator = evaluator, generator
        self.n, self.on_error = number_from("n", n), on_error
        self.last: Evaluation | None = None

    def attempt(self, generator: Callable[[], object], n: int, step: int) -> dict[str, float]:
        """Evaluate ``n`` new images of a generator; the values by their names in a log, none where it failed.

        Every rank makes the call. A failure on one rank is a failure on all of them, so that all continue alike.

        Args:
            generator: returns the generator; an exception in it counts as a failure of the evaluation.
        """
        self.last = None
        try:
            self.evaluator.reset()
            with self.evaluator.together("the generator"):
                made = generator()
            self.evaluator.update_from(made, n)
            self.last = self.evaluator.compute(step)
        except Exception as error:
            if self.on_error == "raise":
                raise
            kind = type(error).__name__
            warn([f"the evaluation at step {step} failed, and training continues: {kind}: {error}"])
        return {} if self.last is None else self.last.flat()
