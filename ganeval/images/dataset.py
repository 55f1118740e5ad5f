"""Map-style datasets: torch's, torchvision's by name, and whatever has a length and gives items by number."""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ganeval.errors import InputError
from ganeval.images.decode import Pixels, UnreadableImage, from_pil
from ganeval.images.grammar import no_dataset
from ganeval.images.indexed import Images
from ganeval.images.pixels import ValueRange, to_uint8
from ganeval.images.specs import TorchvisionDataset

_KEYS = ("image", "images", "img", "pixel_values")


class DatasetImages(Images):
    """Items are images, tuples that begin with one, or mappings with one under ``image`` (or ``img``, ...)."""

    kind = "dataset"

    def __init__(self, dataset: Any, value_range: ValueRange | None, facts: Mapping[str, object] | None = None) -> None:
        if len(dataset) == 0:
            raise InputError(f"The {type(dataset).__name__} holds no images.")
        self.ignored: Counter[str] = Counter()
        self._dataset = dataset
        self._range = value_range
        self._facts = dict(facts or {})

    def __len__(self) -> int:
        return len(self._dataset)

    def load(self, index: int) -> Pixels:
        try:
            item = self._dataset[index]
        except Exception as error:  # whatever the user's own code raises is said of this item
            raise UnreadableImage(f"{type(self._dataset).__name__} raises {type(error).__name__}: {error}") from error
        return one_image(first_of(item), self._range)

    def labels(self) -> list[str] | None:
        targets, classes = getattr(self._dataset, "targets", None), getattr(self._dataset, "classes", None)
        if targets is None or classes is None or len(targets) != len(self):
            return None
        try:
            return [str(classes[int(target)]) for target in targets]
        except (IndexError, KeyError, TypeError, ValueError):
            return None

    def facts(self) -> dict[str, object]:
        return {**self._facts, "value_range": None if self._range is None else list(self._range)}


def open_torchvision(spec: TorchvisionDataset, data_root: str | Path | None, download: bool) -> DatasetImages:
    """A class of ``torchvision.datasets``, by its name in any case.

    Raises:
        InputError: no such dataset or split, or it is not there and may not be fetched.
    """
    from torchvision import datasets

    known = {n.lower(): n for n in datasets.__all__ if inspect.isclass(getattr(datasets, n))}
    name, split = spec.name, spec.split
    if name not in known:
        raise no_dataset(spec.text)
    make = getattr(datasets, known[name])
    parameters = inspect.signature(make).parameters
    if "split" in parameters:
        options: dict[str, object] = {"split": split}
    elif "train" in parameters and split in ("train", "test"):
        options = {"train": split == "train"}
    else:
        choice = "its splits are train and test" if "train" in parameters else "it has no splits that can be named"
        raise InputError(f"{spec.text!r}: {known[name]} has no split {split!r}; {choice}.")
    root = Path(data_root) if data_root is not None else _default_root()
    fetch = download and os.environ.get("GANEVAL_OFFLINE", "0") in ("", "0")
    try:
        dataset = _made(make, root, options, fetch, "download" in parameters)
    except (RuntimeError, OSError, ValueError, ModuleNotFoundError) as error:
        advice = "Fetch it with --download" if not download else "Fetch it yourself (GANEVAL_OFFLINE forbids it here)"
        if fetch:
            advice = "Check the network"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{spec}: {reason} Looked in {root}. {advice}, or point --data-root at the folder that holds it."
        ) from error
    return DatasetImages(dataset, None, {"dataset": known[name], "split": split})


def holds_single_images(items: Any) -> bool:
    """Whether the items of a sequence are images, rather than batches or something else."""
    if len(items) == 0:
        raise InputError(f"The {type(items).__name__} holds no images.")
    if not isinstance(items, (list, tuple)):
        return True  # a dataset; reading an item only to look at it may be slow, or random
    first = first_of(items[0])
    return isinstance(first, Image.Image) or getattr(first, "ndim", 0) in (2, 3)


def first_of(item: Any) -> Any:
    """The image of an item that may carry a label: (image, label), or {"image": ..., ...}."""
    if isinstance(item, Mapping):
        for key in _KEYS:
            if key in item:
                return item[key]
        raise UnreadableImage(f"the item has no image: its keys are {', '.join(map(str, item))}")
    if isinstance(item, tuple) and item:
        return item[0]
    if isinstance(item, list) and item:  # torch turns a tuple of a batch into a list
        return item if all(_is_image(x) for x in item) else item[0]
    return item


def one_image(item: Any, value_range: ValueRange | None) -> Pixels:
    """A Pillow image, or an array or tensor of one: (H, W), (H, W, C) or (C, H, W)."""
    if isinstance(item, Image.Image):
        return from_pil(item)
    if not isinstance(item, (np.ndarray, Tensor)):
        raise UnreadableImage(f"a {type(item).__name__} is no image; needed is a Pillow image, an array or a tensor")
    tensor = isinstance(item, Tensor)
    image = item[None] if item.ndim == 3 else item[None, None] if item.ndim == 2 else item
    try:
        if item.ndim not in (2, 3):
            raise UnreadableImage(f"an array of shape {tuple(item.shape)} is not one image")
        images, notes = to_uint8(image, value_range=value_range, prefer="NCHW" if tensor else "NHWC", what="this item")
    except UnreadableImage:
        raise
    except InputError as error:
        raise UnreadableImage(str(error).rstrip(".")) from error
    return Pixels(images[0].permute(1, 2, 0).cpu().numpy(), tuple(notes.elements()))


def _is_image(item: Any) -> bool:
    return isinstance(item, Image.Image) or (isinstance(item, (np.ndarray, Tensor)) and item.ndim in (2, 3))


def _made(make: Any, root: Path, options: dict[str, object], fetch: bool, can_fetch: bool) -> Any:
    try:
        return make(root=str(root), **options)
    except (RuntimeError, OSError):
        if not (fetch and can_fetch):
            raise
    root.mkdir(parents=True, exist_ok=True)
    return make(root=str(root), download=True, **options)


def _default_root() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("ganeval") / "datasets"
