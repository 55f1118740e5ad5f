"""Data sets of Hugging Face's library: ``hf:NAME[:SPLIT]`` and its data sets as Python objects; needs datasets.

NAME is a folder that ``save_to_disk`` wrote, another folder that the library reads, or a name on the hub. Encoded
images are decoded here, by the policy of ``ganeval.images.decode``, and not by that library, which turns them by their
EXIF orientation. Code that comes with a data set is never run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganeval.download import is_offline
from ganeval.errors import InputError, listed
from ganeval.images.columns import image_column, label_column, require_labels
from ganeval.images.dataset import DatasetImages, cells_of
from ganeval.images.decode import UnreadableImage
from ganeval.images.deep import declare
from ganeval.images.items import bytes_of
from ganeval.images.labels import labels_of, names_of
from ganeval.images.libraries import optional_library
from ganeval.images.options import OpenOptions
from ganeval.images.types import Images

_DRIVE = re.compile(r"[A-Za-z]:[\\/][^:]*")


class HubImages(Images):
    """Encoded images in a column of a data set.

    Args:
        rows: the data set, whose images are not decoded.
        column: of the images.
        labels: the class of each image, where it is known.
        classes: their names by their numbers.
    """

    kind = "dataset"
    encoded = True

    def __init__(self, rows: Any, column: str, labels: list[str] | None, classes: list[str] | None) -> None:
        self.ignored: Counter[str] = Counter()
        self._all, self._rows, self._column = rows, rows.select_columns([column]), column
        self._labels, self._classes = labels, classes
        self.reopens = bool(rows.cache_files)  # otherwise the images are in the memory of this process

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> bytes:
        try:
            value = self._rows[index][self._column]
        except Exception as error:  # of the library's readers anything may be raised
            raise UnreadableImage(f"datasets cannot read it ({type(error).__name__}: {error})") from error
        return bytes_of(value or {})

    def columns(self) -> list[str] | None:
        return list(self._all.column_names)

    def cells(self, column: str) -> Iterator[object]:
        return cells_of(self._all, column)

    def labels(self) -> list[str] | None:
        return self._labels

    def classes(self) -> list[str] | None:
        return self._classes

    def facts(self) -> dict[str, object]:
        return {"image_column": self._column}


def open_hub(given: Any, options: OpenOptions) -> Images:
    """Open the text after ``hf:``, or a data set.

    Raises:
        ConfigError: the library is not installed.
        InputError: no such data set or split, or it has no column of images.
    """
    what, rows = (f"hf:{given}", _load(given)) if isinstance(given, str) else ("This data set", given)
    datasets = _library()
    features = rows.features
    if len(rows) == 0:
        raise InputError(f"{what} has no rows, and so no images.")
    likely = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    if not likely and not isinstance(given, str):
        return DatasetImages(rows, options.value_range, options.image_column, options.label_column)
    column = image_column(what, features, likely, options.image_column)
    if column not in likely:
        return DatasetImages(rows, options.value_range, column, options.label_column)
    classes = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    label = label_column(what, features, classes, options.label_column)
    labels = names = None
    if label is not None:
        labels = require_labels(what, label, labels_of(rows, label), options.label_column)
        names = names_of(rows, label) if labels is not None else None
    images = HubImages(
        rows.cast_column(column, datasets.Image(decode=False)), column, labels, None if names is None else list(names)
    )
    declare(images, options.value_range)
    return images


def _load(text: str) -> Any:
    """One split of the data set of this name.

    Raises:
        InputError: no such data set or split, or it is on the hub and nothing may be fetched.
    """
    drive = _DRIVE.match(text)
    name = drive.group() if drive else text.partition(":")[0]
    split = text[len(name) + 1 :]
    if not name:
        raise InputError(f"hf:{text} names no data set; expected hf:NAME or hf:NAME:SPLIT.")
    datasets = _library()
    folder = Path(name).expanduser()
    if not folder.is_dir() and is_offline():
        raise InputError(
            f"hf:{text}: the folder {name!r} does not exist, and nothing is fetched because GANEVAL_OFFLINE is set. "
            "Save the data set with save_to_disk and give that folder, or unset GANEVAL_OFFLINE (with "
            "HF_HUB_OFFLINE=1, datasets then uses what it has fetched before)."
        )
    try:
        if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
            loaded = datasets.load_from_disk(str(folder))
        else:
            loaded = datasets.load_dataset(str(folder) if folder.is_dir() else name, split=split or None)
    except Exception as error:  # of the library, of files and of the network anything may be raised
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise InputError(f"hf:{text} cannot be loaded: {reason}. Check the name and the split.") from error
    if isinstance(loaded, dict):
        if not split and len(loaded) == 1:
            return next(iter(loaded.values()))
        if split not in loaded:
            wrong = f"has no split {split!r}" if split else "has several splits"
            raise InputError(f"hf:{text} {wrong}; expected one of {listed(list(loaded), 10)}: hf:{name}:SPLIT.")
        return loaded[split]
    if split and str(loaded.split) != split and (folder / "state.json").is_file():
        raise InputError(f"hf:{text} has no split {split!r}; the folder holds one data set. Leave the split out.")
    return loaded


def _library() -> Any:
    """The library datasets.

    Raises:
        ConfigError: it is not installed.
    """
    return optional_library("datasets", "hf:NAME", "hf")
