"""What a game needs of its device: arithmetic, transfers there and back, and optimisers."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from ganeval.arithmetic import cudnn_by_rule, no_autocast, strict_float32
from ganeval.errors import ConfigError


@contextlib.contextmanager
def repeating(precision: str) -> Iterator[None]:
    """Make a run give the same bits as every other one on the same machine, with any settings of the program around.

    float32 is float32 on CUDA too, where PyTorch's default for convolutions is TF32.
    """
    with cudnn_by_rule(deterministic=True), strict_float32(tf32=precision == "tf32"):
        yield


def require_precision(precision: str, device: torch.device) -> None:
    """Raise ConfigError unless the device supports the arithmetic."""
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError(f"--precision tf32 is not supported on {device}: only CUDA has it. Use float32 or bf16.")


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[object]:
    """Mixed precision for ``bf16``: bfloat16 in the convolutions, float32 weights; else no autocast at all."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else no_autocast(device)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the host to the device; to CUDA from page-locked memory, without waiting."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def read(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Convert tensors of one element to Python numbers, in one transfer: the host waits once."""
    return dict(zip(values, torch.stack([value.detach() for value in values.values()]).tolist(), strict=True))


def adam(parameters: Iterable[Tensor], rate: float, beta1: float, device: torch.device) -> torch.optim.Adam:
    """Adam with beta2 0.999; on CUDA one kernel updates all parameters, elsewhere PyTorch's default applies."""
    return torch.optim.Adam(parameters, rate, betas=(beta1, 0.999), fused=True if device.type == "cuda" else None)


def gradient_norm(module: nn.Module) -> Tensor:
    """Euclidean norm of all gradients of a network, on their device."""
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    return nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())


def hardware(device: torch.device, precision: str) -> str:
    """Describe the machine of a run, for the model card."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return f"{device.type} ({name}){threads}, {precision}, torch {torch.__version__}"
