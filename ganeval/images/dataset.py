"""Map-style datasets: torch's, torchvision's by name, and any object that has a length and returns items by number."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganeval.download import is_offline
from ganeval.errors import InputError, listed
from ganeval.images.decode import Pixels, UnreadableImage
from ganeval.images.grammar import no_dataset
from ganeval.images.items import image_of, is_single, label_of, one_image
from ganeval.images.labels import class_name, labels_of, names_of
from ganeval.images.options import OpenOptions
from ganeval.images.pixels import ValueRange
from ganeval.images.specs import TorchvisionDataset
from ganeval.images.types import Images


class DatasetImages(Images):
    """Items hold one image each, see ``ganeval.images.items.image_of``, and perhaps a label.

    Args:
        items: any object that has a length and returns items by number.
        value_range: of floats.
        column: the key or column that holds the image.
        label_column: the one that holds the class.
        facts: for the provenance.
    """

    kind = "dataset"
    reopens = False  # a user's code: it may hold a file open

    def __init__(
        self,
        items: Any,
        value_range: ValueRange | None,
        column: str | None = None,
        label_column: str | None = None,
        **facts: object,
    ) -> None:
        if len(items) == 0:
            raise InputError(f"The {type(items).__name__} holds no images.")
        self.ignored: Counter[str] = Counter()
        self._dataset, self._range, self._column, self._facts = items, value_range, column, facts
        self._label_column = label_column
        self._names = names_of(items, label_column)

    def __len__(self) -> int:
        return len(self._dataset)

    def load(self, index: int) -> Pixels:
        try:
            item = self._dataset[index]
        except Exception as error:  # the error of the user's code is reported for this item
            raise UnreadableImage(f"{type(self._dataset).__name__} raises {type(error).__name__}: {error}") from error
        pixels = one_image(image_of(item, self._column), self._range)
        return replace(pixels, label=class_name(label_of(item, self._label_column), self._names))

    def columns(self) -> list[str] | None:
        return columns_of(self._dataset)

    def cells(self, column: str) -> Iterator[object]:
        return cells_of(self._dataset, column)

    def labels(self) -> list[str] | None:
        return labels_of(self._dataset, self._label_column)

    def classes(self) -> list[str] | None:
        return None if self._names is None else [str(name) for name in self._names]

    def facts(self) -> dict[str, object]:
        column = {} if self._column is None else {"image_column": self._column}
        return {**self._facts, **column, "value_range": None if self._range is None else list(self._range)}


def open_torchvision(spec: TorchvisionDataset, options: OpenOptions) -> DatasetImages:
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
        choice: dict[str, object] = {"split": split}
    elif "train" in parameters and split in ("train", "test"):
        choice = {"train": split == "train"}
    else:
        splits = "its splits are train and test" if "train" in parameters else "it has no splits that can be named"
        raise InputError(f"{spec.text!r}: {known[name]} has no split {split!r}; {splits}.")
    root = _default_root() if options.data_root is None else Path(options.data_root)
    fetch = options.download and not is_offline()
    try:
        dataset = _made(make, root, choice, fetch and "download" in parameters)
    except (RuntimeError, OSError, ValueError, ModuleNotFoundError) as error:
        forbidden = "Fetch it yourself (GANEVAL_OFFLINE is set here)"
        advice = "Check the network" if fetch else forbidden if options.download else "Fetch it with --download"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{spec}: {reason} Looked in {root}. {advice}, or point --data-root at the folder that holds it."
        ) from error
    images = DatasetImages(dataset, None, options.image_column, options.label_column, dataset=known[name], split=split)
    images.reopens = True  # torchvision's open a file an image, or hold all of them in memory
    return images


def holds_single_images(items: Any, column: str | None = None) -> bool:
    """Whether the items of a sequence are images, rather than batches or something else."""
    if len(items) == 0:
        raise InputError(f"The {type(items).__name__} holds no images.")
    if not isinstance(items, (list, tuple)):
        return True  # a dataset; reading an item only to look at it may be slow, or random
    try:
        return is_single(image_of(items[0], column))
    except UnreadableImage:
        return True  # it is named when it is read


def columns_of(items: Any) -> list[str] | None:
    """The columns of a data set of Hugging Face, or the keys of the first item; None where an item has no keys."""
    if (features := _stored_columns(items)) is not None:
        return list(features)
    try:
        item = items[0]
    except Exception:  # of the user's code; the error is reported where the image is read
        return None
    return list(item) if isinstance(item, Mapping) and not is_single(item) else None


def cells_of(items: Any, column: str) -> Iterator[object]:
    """The value of one key or column in every item, in order.

    Only this column is read of a data set of Hugging Face; of others, every item is loaded for it.

    Raises:
        UnreadableImage: an item cannot be loaded, or does not have it.
    """
    if _stored_columns(items) is not None:
        items = items.select_columns([column])
    for index in range(len(items)):
        try:
            item = items[index]
        except Exception as error:  # of the user's code and of libraries anything may be raised
            raise UnreadableImage(f"{type(items).__name__} raises {type(error).__name__}: {error}") from error
        if not isinstance(item, Mapping) or column not in item:
            has = f"its columns are {listed(list(item), 12)}" if isinstance(item, Mapping) else "it has no columns"
            raise UnreadableImage(f"the item has no column {column!r}: {has}")
        yield item[column]


def _stored_columns(items: Any) -> Mapping[str, object] | None:
    """The columns of a data set of Hugging Face, unless a transform of the user makes the items of them."""
    features = getattr(items, "features", None)
    if not isinstance(features, Mapping) or not hasattr(items, "select_columns"):
        return None
    return None if getattr(items, "format", {}).get("type") == "custom" else features


def _made(make: Any, root: Path, choice: dict[str, object], fetch: bool) -> Any:
    try:
        return make(root=str(root), **choice)
    except (RuntimeError, OSError):
        if not fetch:
            raise
    root.mkdir(parents=True, exist_ok=True)
    return make(root=str(root), download=True, **choice)


def _default_root() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("ganeval") / "datasets"
