"""The outputs of a run: each is attempted, and one that fails costs none of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganeval.cli.streams import OutputError
from ganeval.errors import GanEvalError

if TYPE_CHECKING:
    import numpy as np

    from ganeval.results import Evaluation


def opened_by(options: Mapping[str, Any]) -> dict[str, Any]:
    """Of the options of a command, those that opened its images and are not in its document."""
    return {name: options.get(name) for name in ("data_root", "prompts", "caption_column")}


class Outputs:
    """Collects the outputs that could not be written.

    Attributes:
        errors: ``path`` and ``message`` of each failure, as ``output_errors`` of a document.
    """

    def __init__(self) -> None:
        self.errors: list[dict[str, str]] = []
        self._fault: Exception | None = None

    @contextmanager
    def attempt(self, path: object) -> Iterator[None]:
        """Run the block; an error in it is stored for ``finish``."""
        try:
            yield
        except GanEvalError as error:
            self.failed(path, str(error))
        except OSError as error:
            self.failed(path, f"cannot write {path}: {error.strerror or error}. Choose another path.")
        except Exception as error:  # a bug of this program; raised after everything else is written
            self.failed(path, f"internal error: {error!r}")
            self._fault = self._fault or error

    def failed(self, path: object, message: str) -> None:
        self.errors.append({"path": str(path), "message": " ".join(message.split())})

    @property
    def fields(self) -> Mapping[str, Any]:
        """The key ``output_errors`` of the document; empty where everything was written."""
        return {"output_errors": list(self.errors)} if self.errors else {}

    def finish(self) -> None:
        """Raise if an output failed.

        Raises:
            OutputError: one message that names every output that could not be written.
        """
        if self._fault is not None:
            raise self._fault
        if self.errors:
            raise OutputError(" ".join(dict.fromkeys(error["message"] for error in self.errors)))


def write_evaluation(
    outputs: Outputs,
    evaluation: Evaluation,
    target: Path,
    *,
    arrays: Mapping[str, np.ndarray] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Write a record, or its document alone where there is no room for the values of single images.

    Returns:
        The evaluation, which names the file of those values if it was written.
    """
    from ganeval.errors import InputError
    from ganeval.result_files import samples_file, write_record

    try:
        return write_record(evaluation, target, arrays=arrays, more={**outputs.fields, **(more or {})})
    except InputError as error:
        first = str(error)
    samples = samples_file(target)
    try:
        failed = [*outputs.errors, {"path": str(samples), "message": first}]
        alone = write_record(evaluation, target, arrays={}, more={"output_errors": failed, **(more or {})})
    except InputError:
        outputs.failed(target, first)
        return evaluation
    outputs.failed(samples, first)
    return alone
