"""Put a file's tensors into a network of another library, and say which of them do not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import TypeVar

import torch
from torch import Tensor, nn

from ganeval.errors import ConfigError, WeightsError

Network = TypeVar("Network", bound=nn.Module)
_COUNTER = "num_batches_tracked"  # inference does not use it, and files have it or not


def filled(build: Callable[[], Network], state_dict: Mapping[str, Tensor], what: str) -> Network:
    """The network that ``build`` makes, in evaluation mode, without gradients, with the given weights in float32.

    Args:
        build: called under the ``meta`` device, so that no memory and no random numbers are spent.
        state_dict: every tensor of the network under its name, and nothing else.
        what: how messages call it.

    Raises:
        WeightsError: a tensor is missing, unexpected, of another shape, or not finite.
    """
    with torch.device("meta"):
        network = build()
    needed = network.state_dict()
    given = {name: tensor for name, tensor in state_dict.items() if not name.endswith(_COUNTER)}
    wanted = {name: tensor for name, tensor in needed.items() if not name.endswith(_COUNTER)}
    shapes = [
        f"{name} has shape {tuple(given[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in given and given[name].shape != tensor.shape
    ]
    faults = {
        "missing": [n for n in wanted if n not in given], "unexpected": [n for n in given if n not in wanted],
        "misshapen": shapes,
    }  # fmt: skip
    if any(faults.values()):
        found = "; ".join(f"{len(names)} {kind} ({_few(names)})" for kind, names in faults.items() if names)
        raise WeightsError(f"These are not the weights of {what} ({len(wanted)} tensors): {found}.")
    if damaged := [n for n, t in given.items() if not t.is_floating_point() or not bool(torch.isfinite(t).all())]:
        raise WeightsError(f"These weights of {what} are damaged: {_few(damaged)} holds NaN, infinity or no floats.")
    counters = {name: torch.zeros((), dtype=torch.long) for name in needed if name.endswith(_COUNTER)}
    floats = {name: tensor.detach().to(torch.float32) for name, tensor in given.items()}
    network.load_state_dict(floats | counters, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def library(module: str, extra: str, what: str) -> ModuleType:
    """A module of an optional library.

    Raises:
        ConfigError: it is not installed; the message has the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ConfigError(missing_library(extra, what)) from error


def missing_library(extra: str, what: str) -> str:
    return f"{what} needs a library that is not installed: pip install 'ganeval[{extra}]'"


def _few(names: Sequence[str], limit: int = 3) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
