"""Generators as files: the weights in NAME.safetensors, and their model card in NAME.json next to it.

The JSON has at least ``{"model": "dcgan", "arguments": {...}}``; other keys (data, recipe, metrics) are for people.
With ``sha256`` it also identifies the weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ganeval.arithmetic import plain_defaults
from ganeval.download import sha256_of
from ganeval.errors import ConfigError, WeightsError
from ganeval.files import write_text, written_whole
from ganeval.parsing.documents import DocumentError, Sha256, read_json_tree, shown, typed

_LARGEST = 4096  # largest number in a card: layers, channels
WEIGHTS = Path(__file__).with_name("weights")  # those of the generators that ship with ganeval


@dataclass(frozen=True, slots=True)
class Architecture:
    """A class of this package, built from the ``arguments`` of a checkpoint.

    Attributes:
        module: where the class is; imported when it is needed.
        name: name of the class.
        translates: images to images; else latents to images.
        batch: number of images in every call, so that their bits depend on nothing else.
    """

    module: str
    name: str
    translates: bool
    batch: int

    def load(self) -> type[nn.Module]:
        found: type[nn.Module] = getattr(import_module(self.module), self.name)
        return found


ARCHITECTURES: Mapping[str, Architecture] = {
    "dcgan": Architecture("ganeval.generators.dcgan", "Generator", translates=False, batch=64),
    "cyclegan": Architecture("ganeval.generators.cyclegan", "TranslationGenerator", translates=True, batch=16),
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A generator from a file.

    Attributes:
        module: float32, in evaluation mode, on the CPU.
        architecture: class of the module.
        card: content of the JSON.
        sha256: digest of the weights.
    """

    module: nn.Module
    architecture: Architecture
    card: Mapping[str, Any]
    sha256: str


def save_generator(path: Path, module: nn.Module, model: str, card: Mapping[str, object] | None = None) -> None:
    """Write ``module.half()`` to ``path`` (.safetensors) and its card to the .json next to it.

    Args:
        path: the file of the weights.
        module: a network that holds the arguments of its constructor in ``module.arguments``.
        model: name of the architecture.
        card: further keys of the JSON; the value of ``bytes``, if there is that key, becomes the size of the file.
    """
    half = {
        name: (tensor.half() if tensor.is_floating_point() else tensor).detach().cpu().contiguous()
        for name, tensor in module.state_dict().items()
    }
    with written_whole(path) as temporary:
        save_file(half, temporary)
    fields = {"model": model, "arguments": module.arguments, **(card or {}), "sha256": sha256_of(path)}
    if "bytes" in fields:
        fields["bytes"] = path.stat().st_size
    write_text(path.with_suffix(".json"), json.dumps(fields, indent=2) + "\n")


@plain_defaults()
def load_generator(path: Path) -> Checkpoint:
    """Load the generator of ``NAME.safetensors`` and ``NAME.json``.

    Raises:
        WeightsError: one of the files is missing or damaged, or they do not belong together.
    """
    if not path.is_file():
        raise WeightsError(f"{path} does not exist. Give the path of a generator's .safetensors file.")
    card, fields = _read_card(path)
    architecture = ARCHITECTURES[card.model]
    described = f"a {card.model} with {json.dumps(card.arguments)}"
    try:
        with torch.device("meta"):  # shapes only: the network that a card describes may be larger than any memory
            wanted = architecture.load()(**card.arguments).state_dict()
    except (ConfigError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise WeightsError(
            f"{path.with_suffix('.json')} describes {described}, which cannot be built: {_line(error)}. "
            "Put back the file that was written with the weights."
        ) from error
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{path} is not a complete safetensors file: {_line(error)}. Copy or train it again."
        ) from error
    _require_same(path, described, wanted, state)
    with torch.random.fork_rng(devices=[]):  # its first weights are random
        module = architecture.load()(**card.arguments)
    digest = sha256_of(path)
    if (card.sha256 or digest) != digest:
        raise WeightsError(
            f"{path} is not the file that {path.with_suffix('.json').name} describes: its SHA-256 is {digest[:16]}..., "
            f"there {str(card.sha256)[:16]}... Copy both files again."
        )
    module.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return Checkpoint(module.eval().requires_grad_(False), architecture, fields, digest)


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """The declared keys of a model card; other keys (data, recipe, metrics) are for people."""

    model: str
    arguments: dict[str, bool | Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]]
    sha256: Sha256 | None = None

    def __post_init__(self) -> None:
        if self.model not in ARCHITECTURES:
            raise ValueError(f"model is {shown(self.model)}, expected one of {', '.join(ARCHITECTURES)}")


def _read_card(path: Path) -> tuple[Card, dict[str, Any]]:
    """Read the card of a file of weights: its declared keys, and all keys."""
    described = path.with_suffix(".json")
    if not described.is_file():  # nor a pipe, which would block
        if (path.parent / "run.json").is_file() and path.name.startswith("checkpoint-"):
            raise WeightsError(
                f"{path} is the state of a training run, not a generator. Finish the run (--resume) and use the "
                f"generator that it writes to {path.parent}."
            )
        raise WeightsError(
            f"{path} has no model card {described.name} next to it. Copy both files that the training wrote."
        )
    advice = "Copy it again, with the file that was written with the weights."
    fields = read_json_tree(described, what="model card", advice=advice, error=WeightsError)
    try:
        return typed(fields, Card), fields
    except DocumentError as error:
        raise WeightsError(f"{described} is not a valid model card: {error}. {advice}") from error


def _require_same(path: Path, described: str, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise WeightsError with the first difference of each kind unless names and shapes are equal."""
    kinds = {
        "is missing": [name for name in wanted if name not in found],
        "is unexpected": [name for name in found if name not in wanted],
        "has another shape": [n for n in wanted if n in found and wanted[n].shape != found[n].shape],
    }
    differences = [f"{names[0]} {kind}" for kind, names in kinds.items() if names]
    if name := next(iter(kinds["has another shape"]), None):
        differences[-1] += f" ({tuple(found[name].shape)}, expected {tuple(wanted[name].shape)})"
    if differences:
        raise WeightsError(
            f"{path} holds the weights of another architecture than {described}, which its JSON describes: "
            f"{'; '.join(differences)}. Copy both files again, from one training."
        )


def _line(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return text if len(text) <= 200 else f"{text[:200]}..."
