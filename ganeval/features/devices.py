"""The accelerators of this machine: which there are, and the memory they give back."""

from __future__ import annotations

from types import ModuleType

import torch

from ganeval.distributed import accelerator_index, local_index
from ganeval.errors import ConfigError
from ganeval.parsing.arguments import DEVICE, Device, option

_KINDS = ("cuda", "xpu", "npu", "hpu", "mtia", "mps")  # looked for where PyTorch cannot be asked (torch < 2.6)


def accelerators() -> list[torch.device]:
    """Every accelerator that PyTorch finds here, with its index unless it is Apple's; CUDA's first."""
    found = []
    for kind in _kinds():
        module = _module(kind)
        if kind == "mps":
            found += [torch.device(kind)] if torch.backends.mps.is_available() else []
        elif module is not None and module.is_available():
            found += [torch.device(kind, i) for i in range(module.device_count())]
    return found


def choose_device(device: Device) -> torch.device:
    """``auto``, or None, is CUDA where there is one, then any other accelerator that PyTorch knows, then the CPU.

    Each of several ranks has its own CUDA device.

    Raises:
        ConfigError: there is no such device here; the message names those that there are.
    """
    name: str = DEVICE("device", device)
    found = accelerators()
    available = list(dict.fromkeys(name for one in found for name in (one.type, str(one))))
    available.append("cpu")
    if name == "auto":
        name = available[0]
    if name not in available:
        raise ConfigError(
            f"{option('device')}: this machine has no device {name!r}. Available: auto, {', '.join(available)}."
        )
    if name == "cuda":
        index = accelerator_index()
    else:
        index = local_index(sum(one.type == name and one.index is not None for one in found))
    return torch.device(name) if index is None else torch.device(name, index)


def give_back(device: torch.device) -> None:
    """Return what PyTorch keeps of the accelerator's memory, and of page-locked memory, for later use.

    Tensors stay. cuBLAS's workspaces, which are memory in use for PyTorch, are made anew at the next product.
    """
    module = _module(device.type)
    if device.type == "cpu" or module is None or not getattr(module, "is_initialized", lambda: True)():
        return  # nothing was computed there
    if device.type == "cuda" and hasattr(torch._C, "_cuda_clearCublasWorkspaces"):
        torch._C._cuda_clearCublasWorkspaces()
    if hasattr(module, "empty_cache"):
        module.empty_cache()
    if hasattr(torch._C, "_host_emptyCache"):
        torch._C._host_emptyCache()


def _kinds() -> list[str]:
    kinds = list(_KINDS)
    if hasattr(torch._C, "_get_privateuse1_backend_name"):  # a device whose makers extend PyTorch
        kinds.append(torch._C._get_privateuse1_backend_name())
    if hasattr(torch, "accelerator") and (current := torch.accelerator.current_accelerator()) is not None:
        kinds.append(current.type)
    return list(dict.fromkeys(kinds))


def _module(kind: str) -> ModuleType | None:
    """``torch.cuda`` and its like."""
    return getattr(torch, kind, None)
