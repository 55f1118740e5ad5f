"""Checkpoints that survive a kill at any moment: tensors in safetensors, the rest in JSON, no pickle.

A checkpoint is a new file ``checkpoint-00001500.safetensors``. Once it is on the disk, the small ``checkpoint.json`` is
replaced by one that names it, and only then is the previous file removed. At every moment of a kill,
``checkpoint.json`` names a complete file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ganeval.errors import InputError
from ganeval.files import written_whole
from ganeval.parsing.documents import Count, parse_json, read_bytes, shown, typed

POINTER = "checkpoint.json"
_SCHEMA = "ganeval-checkpoint/1"
_ADVICE = "Start again with --overwrite, or restore the file."
_PLAIN = (bool, int, float, str, type(None))


class Pointer(msgspec.Struct, frozen=True):
    """``checkpoint.json``: the name of the file with the tensors, and all other values."""

    schema: Literal["ganeval-checkpoint/1"]
    step: Count
    file: str
    state: Any

    def __post_init__(self) -> None:
        if Path(self.file).name != self.file or "\x00" in self.file:
            raise ValueError(f"file is {shown(self.file)}, expected a name in the same folder")


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Write ``state`` (dicts, lists and tuples of tensors, numbers, strings and None) as the checkpoint of ``step``.

    Tensors are copied to the CPU, contiguous; numbers are restored bit for bit.

    Returns:
        The file with the tensors.

    Raises:
        InputError: the folder cannot be written to.
    """
    tensors: dict[str, Tensor] = {}
    tree = _pack(dict(state), "state", tensors)
    path = folder / f"checkpoint-{step:08d}.safetensors"
    with written_whole(path) as temporary:
        temporary.write_bytes(save(tensors))
        _to_disk(temporary)
    pointer = {"schema": _SCHEMA, "step": step, "file": path.name, "bytes": path.stat().st_size, "state": tree}
    with written_whole(folder / POINTER) as temporary:
        temporary.write_text(json.dumps(pointer), encoding="utf-8")
        _to_disk(temporary)
    for old in folder.glob("checkpoint-*.safetensors"):
        if old != path:
            old.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """Load (step, state) of the last checkpoint, on the CPU; None if there is none.

    Raises:
        InputError: it is damaged, or not a checkpoint of ganeval.
    """
    pointer = folder / POINTER
    if not pointer.is_file():
        return None
    try:
        found = typed(parse_json(read_bytes(pointer, what="checkpoint", advice=_ADVICE)), Pointer)
        tensors = load_file(folder / found.file)
        state = _unpack(found.state, tensors)
        if not isinstance(state, dict):
            raise ValueError("its state is not a table")
        return found.step, state
    except (ValueError, KeyError, TypeError, OSError, SafetensorError) as error:
        raise InputError(
            f"The checkpoint in {folder} cannot be read ({' '.join(str(error).split())[:160]}). " + _ADVICE
        ) from error


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoint, the pointer first, so that it never names a file that does not exist."""
    (folder / POINTER).unlink(missing_ok=True)
    for path in folder.glob("checkpoint-*.safetensors"):
        path.unlink(missing_ok=True)


def restore_optimiser(optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load the state of an optimiser, with the memory layout of each moment equal to that of its parameter.

    The next steps then give the same bits as in an uninterrupted run. Whether one kernel updates all moments depends on
    this device, not on that of the state.
    """
    groups = [
        {**group, "fused": own["fused"]}
        for group, own in zip(state["param_groups"], optimiser.param_groups, strict=True)
    ]
    optimiser.load_state_dict({**state, "param_groups": groups})
    for parameter, values in optimiser.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


# --- nested values <-> a flat dictionary of tensors and a tree that JSON can hold ----------------------------------


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):  # integer keys, as of an optimiser's state, would become strings in JSON
        return {"dict": [[key, _pack(item, f"{name}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_pack(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]}
    if isinstance(value, _PLAIN):
        return value
    raise TypeError(f"{name}: a checkpoint holds tensors, numbers, strings and None, not {type(value).__name__}")


def _unpack(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in content}
    items = [_unpack(item, tensors) for item in content]
    return items if kind == "list" else tuple(items)


def _to_disk(path: Path) -> None:
    """Write through to the disk: the file must survive a crash of the machine before its name is used."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
