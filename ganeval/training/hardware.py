"""What a game asks of its device: arithmetic, tensors on their way there, optimisers, and values on their way back."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from ganeval.arithmetic import cudnn_by_rule, no_autocast, strict_float32
from ganeval.errors import ConfigError
from ganeval.training import PRECISIONS


@contextlib.contextmanager
def repeating(precision: str) -> Iterator[None]:
    """Inside, a run gives the same bits as every other on the same machine, whatever the surrounding program has set.

    float32 is float32 on CUDA too, where PyTorch's default for convolutions is TF32.
    """
    with cudnn_by_rule(deterministic=True), strict_float32(tf32=precision == "tf32"):
        yield


def require_precision(precision: str, device: torch.device | None = None) -> None:
    """Raise ConfigError unless there is such an arithmetic, and the device, where it is known, has it."""
    if precision not in PRECISIONS:
        raise ConfigError(f"--precision is one of {', '.join(PRECISIONS)}; got {precision!r}.")
    if precision == "tf32" and device is not None and device.type != "cuda":
        raise ConfigError(f"--precision tf32 is not supported on {device}: only CUDA has it. Take float32 or bf16.")


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Mixed precision where it is asked for: bfloat16 in the convolutions, float32 weights."""
    require_precision(precision, device)
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else no_autocast(device)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on the device; to CUDA it crosses from page-locked memory while the host goes on."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def read(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Numbers of one element each as Python's, for which the host waits once, and not once for each."""
    return dict(zip(values, torch.stack([value.detach() for value in values.values()]).tolist(), strict=True))


def adam(parameters: Iterable[Tensor], rate: float, beta1: float, device: torch.device) -> torch.optim.Adam:
    """Adam with beta2 0.999; on CUDA all parameters move in one kernel, elsewhere as PyTorch's default has it."""
    return torch.optim.Adam(parameters, rate, betas=(beta1, 0.999), fused=True if device.type == "cuda" else None)


def gradient_norm(module: nn.Module) -> Tensor:
    """Euclidean norm of all gradients of a network, where they are."""
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    return nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())


def hardware(device: torch.device, precision: str) -> str:
    """On what a run was made, for its card."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"{device.type} ({name}){threads}, {precision}, torch {torch.__version__}"
