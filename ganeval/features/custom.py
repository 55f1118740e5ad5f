"""A network of the user's own: a TorchScript file, a module, or any function of a batch of images."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ganeval.arithmetic import strict_float32
from ganeval.download import sha256_of
from ganeval.errors import ConfigError
from ganeval.features.scaling import SCALES
from ganeval.features.single_tap import SingleTap
from ganeval.features.types import LoadedNetwork, NetworkSource
from ganeval.images.resize import RESIZE_MODES
from ganeval.parsing.arguments import WHOLE
from ganeval.parsing.torchscript import load_torchscript
from ganeval.protocol import CUSTOM, Protocol

_SAVE = "Save the network with torch.jit.script(net).save(FILE) or torch.jit.trace."
NO_HASH = "{} has no weights that could be hashed: results of two versions of it look comparable"


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomNetwork:
    """A network of your own, and what is done to an image before it: ``evaluate(..., protocol=CustomNetwork(...))``.

    Attributes:
        network: a TorchScript file (it is code, which runs here: open only what you trust), a ``torch.nn.Module`` (a
            copy of it is put into evaluation mode), or any function: float32 (N, 3, size, size) -> float (N, d).
        size: height and width that the network takes, in pixels.
        resize: a mode of ``ganeval.images.resize``.
        scale: the map from 0..255 to the values that it takes: ``x``, ``x/255``, ``2*(x/255)-1``, ``(x-127.5)/127.5``,
            ``(x-128)/128``, ``imagenet`` or ``clip`` (mean and deviation of those training sets taken out).
    """

    network: str | Path | Callable[[Tensor], Tensor]
    size: int
    resize: str
    scale: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", WHOLE("size", self.size))
        if self.size < 1:
            raise ConfigError(f"the size of a network's input is a number of pixels from 1 on; got {self.size!r}.")
        for what, value, known in (("resize", self.resize, RESIZE_MODES), ("scale", self.scale, SCALES)):
            if value not in known:
                raise ConfigError(f"{what} is one of {', '.join(known)}; got {value!r}.")

    def protocol(self) -> Protocol:
        """Its protocol; the hash of the weights and the number of features are filled in when it is loaded."""
        return Protocol(name=CUSTOM, extractor=CUSTOM, layer="", resize=self.resize, size=self.size, scale=self.scale)

    def given(self) -> NetworkSource:
        """The network, or its file."""
        return Path(self.network) if isinstance(self.network, str | Path) else self.network


def load_custom(network: NetworkSource, size: int, device: torch.device) -> LoadedNetwork:
    """Load or copy it, and look at what it makes of one black image.

    Its hash is that of the file; of a module, of its class's name and its tensors; of a function, of its name alone.

    Raises:
        WeightsError: no such file, or no TorchScript.
        ConfigError: it cannot take a batch, or does not give one row of numbers an image.
    """
    warnings: tuple[str, ...] = ()
    call: Callable[[Tensor], Tensor]
    if isinstance(network, Path):
        call = load_torchscript(network, _SAVE).to(device).eval()
        digest = sha256_of(network)
    elif isinstance(network, nn.Module):
        digest, call = _hash(network), copy.deepcopy(network).to(device).eval()
    else:
        name = f"{getattr(network, '__module__', '')}.{getattr(network, '__qualname__', type(network).__qualname__)}"
        digest, call, warnings = hashlib.sha256(name.encode()).hexdigest(), network, (NO_HASH.format(name),)
    width = _width(call, size, device)
    return LoadedNetwork(SingleTap(call, str(width)), {str(width): width}, digest, False, warnings)


def _width(network: Callable[[Tensor], Tensor], size: int, device: torch.device) -> int:
    """Features an image, of a network that was never called before."""
    try:
        with strict_float32(), torch.inference_mode():
            out = network(torch.zeros(2, 3, size, size, dtype=torch.float32, device=device))
    except Exception as error:  # whatever the user's code raises
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"the network cannot take a batch of shape (2, 3, {size}, {size}): {lines[-1][:200]}. "
            "Is that the size that it was made for?"
        ) from error
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != 2 or not out.is_floating_point():
        got = f"{out.dtype} {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise ConfigError(
            f"the network gives {got} for 2 images, and float (2, d) is needed: one row of features an image. "
            "Flatten or pool its output, or wrap it in a function that does."
        )
    return int(out.shape[1])


def _hash(module: nn.Module) -> str:
    digest = hashlib.sha256(f"{type(module).__module__}.{type(module).__qualname__}".encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
