"""Put a file's tensors into a network, and say which of them do not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import TypeVar

import torch
from torch import Tensor, nn

from ganeval.errors import WeightsError

Module = TypeVar("Module", bound=nn.Module)
_COUNTER = "num_batches_tracked"  # inference does not use it, and files have it or not


def load_state(build: Callable[[], Module], state_dict: Mapping[str, Tensor], what: str, advice: str = "") -> Module:
    """The network that ``build`` makes, in evaluation mode, without gradients, with the given weights in float32.

    Args:
        build: called under the ``meta`` device, so that it costs no memory and no random numbers.
        state_dict: every tensor of the network under its name, and nothing else; with or without the
            ``num_batches_tracked``. The network may share their memory.
        what: how messages call it.
        advice: a sentence for weights of another network.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape, or not finite.
    """
    with torch.device("meta"):
        network = build()
    complete = network.state_dict()
    given = {name: tensor for name, tensor in state_dict.items() if not name.endswith(_COUNTER)}
    needed = {name: tensor for name, tensor in complete.items() if not name.endswith(_COUNTER)}
    faults = {
        "missing": [name for name in needed if name not in given],
        "unexpected": [name for name in given if name not in needed],
        "misshapen": [
            f"{name} has shape {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
            for name, tensor in needed.items()
            if name in given and given[name].shape != tensor.shape
        ],
    }
    if any(faults.values()):
        found = "; ".join(f"{len(names)} {kind} ({_few(names)})" for kind, names in faults.items() if names)
        raise WeightsError(f"These are not the weights of {what} ({len(needed)} tensors): {found}. {advice}".rstrip())
    # a sum is finite if and only if all are: float32 does not overflow in float64, and infinity stays so or is NaN
    if damaged := [
        n for n, t in given.items() if not t.is_floating_point() or not isfinite(t.sum(dtype=torch.float64))
    ]:
        raise WeightsError(f"These weights of {what} are damaged: {_few(damaged)} holds NaN, infinity or no floats.")
    counters = {name: torch.zeros((), dtype=torch.long) for name in complete if name.endswith(_COUNTER)}
    floats = {name: tensor.detach().to(torch.float32) for name, tensor in given.items()}
    network.load_state_dict(floats | counters, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _few(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
