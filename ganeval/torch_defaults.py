"""The defaults of new tensors, which a training program may have set for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch


@contextmanager
def plain_defaults() -> Iterator[None]:
    """Inside, new tensors are float32 on the CPU unless they say otherwise; afterwards the defaults are as before.

    A program may have called ``torch.set_default_dtype`` or ``torch.set_default_device``, or be inside
    ``with torch.device(...)``. Networks of this package are built and run under plain defaults; code of the user runs
    under the user's.
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        if torch.get_default_device().type != "cpu":  # entered only then, since it slows every operation down
            stack.enter_context(torch.device("cpu"))
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        yield
