"""Turn what the user's model returned into one array of images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ganeval.errors import InputError
from ganeval.images.decode import from_pil

_NAMES = ("images", "sample")  # of the outputs of diffusers: keys and attributes
_KEYS = (*_NAMES, "image", "samples")


def to_image_array(made: Any, n: int, *, spec: str, what: str) -> tuple[Tensor | np.ndarray, Counter[str]]:
    """The n images that a model returned, NCHW, and notes on what was done to them.

    Taken are a tensor (N, 3 or 1, H, W); a numpy array, also (N, H, W, 3 or 1); N Pillow images, tensors (C, H, W) or
    arrays of one size in a list or tuple; any of these as the attribute ``images`` or ``sample`` of an object, or as
    the only value of a dictionary that it can be (of several, the one named ``images``, ``sample``, ``image`` or
    ``samples``).

    Args:
        spec: the model, as the user knows it.
        what: its inputs, for messages.

    Raises:
        InputError: it is none of these; the message says how to wrap the model.
    """
    notes = Counter[str]()
    array = _array_of(made, n, notes, spec)
    if array is None:
        raise InputError(
            f"{spec} returns a {type(made).__name__}; expected a tensor (N, 3, H, W){_contents(made)}. "
            f"Wrap it, for example lambda {_input(what)}: {_wrapped(made, _input(what))}."
        )
    shape = tuple(array.shape)
    if len(shape) == 4 and shape[1] not in (1, 3) and shape[3] in (1, 3):
        if isinstance(array, np.ndarray):  # by custom, as Pillow's; a tensor's axes are rather an oversight
            array = array.transpose(0, 3, 1, 2)
            shape = tuple(array.shape)
        else:
            raise InputError(f"{spec} returns NHWC images, shape {shape}; expected (N, 3, H, W): permute(0, 3, 1, 2).")
    if len(shape) != 4 or shape[0] != n or shape[1] not in (1, 3):
        advice = ""
        if len(shape) == 4 and shape[0] == n and shape[1] == 4:
            advice = " 4 channels are latents (decode them first) or have an alpha channel (drop it: x[:, :3])."
        raise InputError(
            f"{spec} makes an array of shape {shape} of {n} {what}; expected ({n}, 3, H, W), or 1 channel.{advice}"
        )
    return array, notes


def _plain(tensor: Tensor, spec: str) -> Tensor:
    """The tensor itself.

    Raises:
        InputError: it is nested, sparse, or only a shape.
    """
    problem = None
    if tensor.is_nested:
        problem = "a nested tensor: stack its images (torch.stack)"
    elif tensor.layout != torch.strided:
        problem = f"a tensor of the layout {tensor.layout}: convert it (x.to_dense())"
    elif tensor.is_meta:
        problem = "a tensor on the device meta, which is a shape without values"
    if problem is not None:
        raise InputError(f"{spec} returns {problem}; expected a dense tensor (N, 3, H, W) that holds values.")
    return tensor


def _array_of(made: Any, n: int, notes: Counter[str], spec: str) -> Tensor | np.ndarray | None:
    if isinstance(made, Tensor):
        return _plain(made, spec)
    if isinstance(made, np.ndarray):
        return made
    if isinstance(made, Mapping):
        likely = {key: value for key, value in made.items() if _may_be_images(value, n, spec)}
        named = [value for key, value in likely.items() if key in _KEYS]
        chosen = list(likely.values()) if len(likely) == 1 else named
        return _array_of(chosen[0], n, notes, spec) if len(chosen) == 1 else None
    if isinstance(made, (list, tuple)):
        return _stacked(made, notes, spec) if len(made) == n and all(_is_one(one, spec) for one in made) else None
    for name in _NAMES:
        value = getattr(made, name, None)
        if value is not None and not callable(value):  # a distribution has a method of the name ``sample``
            return _array_of(value, n, notes, spec)
    return None


def _may_be_images(value: Any, n: int, spec: str) -> bool:
    if isinstance(value, (Tensor, np.ndarray)):
        return value.ndim == 4
    return isinstance(value, (list, tuple)) and len(value) == n and all(_is_one(one, spec) for one in value)


def _is_one(value: Any, spec: str) -> bool:
    if isinstance(value, Tensor):
        return _plain(value, spec).ndim == 3
    return isinstance(value, Image.Image) or (isinstance(value, np.ndarray) and value.ndim == 3)


def _stacked(images: list[Any] | tuple[Any, ...], notes: Counter[str], spec: str) -> Tensor | np.ndarray:
    """One array of images that are all of one type and size."""
    if all(isinstance(image, Image.Image) for image in images):
        decoded = [from_pil(image) for image in images]
        notes.update(note for one in decoded for note in one.notes)
        images = [one.array for one in decoded]
    kinds = {f"{type(image).__name__} {image.dtype} {tuple(image.shape)}": None for image in images}
    if len(kinds) != 1:
        raise InputError(
            f"{spec} returns images that differ in size or type: {', '.join(list(kinds)[:4])}; expected one size and "
            "one type. Resize or convert them in the generator."
        )
    return torch.stack(list(images)) if isinstance(images[0], Tensor) else np.stack(images)


def _contents(made: Any) -> str:
    if isinstance(made, Mapping):
        return f", found the keys {', '.join(map(str, list(made)[:12]))}" if made else ", found no keys"
    if isinstance(made, (list, tuple)):
        return f", found {', '.join(type(value).__name__ for value in list(made)[:4]) or 'nothing'}"
    return ""


def _input(what: str) -> str:
    return "prompts" if what == "prompts" else "z"


def _wrapped(made: Any, given: str) -> str:
    if isinstance(made, Mapping) and made:
        return f"generator({given})[{next(iter(made))!r}]"
    fields = vars(made) if hasattr(made, "__dict__") and not isinstance(made, (list, tuple)) else {}
    found = next((name for name, value in fields.items() if isinstance(value, (Tensor, np.ndarray))), None)
    return f"generator({given})[0]" if found is None else f"generator({given}).{found}"
