"""On the path of a Python, makes it spawn processes, as macOS and Windows do, and note how each was started."""

import multiprocessing
import os
from multiprocessing.process import BaseProcess

_start = BaseProcess.start


def _noted(self: BaseProcess) -> None:
    _start(self)
    with open(os.environ["GANEVAL_TEST_STARTED"], "a", encoding="utf-8") as file:
        file.write(f"{self._popen.method}\n")  # type: ignore[attr-defined]


multiprocessing.set_start_method("spawn")
BaseProcess.start = _noted  # type: ignore[method-assign]
