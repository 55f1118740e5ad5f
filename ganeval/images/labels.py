"""Class labels of data sets, by what the usual libraries call them; no image is read for them."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from ganeval.images.items import LABEL_KEYS, label_of

_ATTRIBUTES = ("targets", "labels", "_labels")  # of torchvision and of those who follow it


def labels_of(dataset: Any, column: str | None = None) -> list[str] | None:
    """The class of every item, in order, where a data set knows it without loading its items.

    Read are Subset (so also ``random_split``), ConcatDataset, the second tensor of a TensorDataset, ``targets`` or
    ``labels`` with names in ``classes``, the label column of a Hugging Face data set, and the labels in a list of
    (image, label). Labels without names are their numbers.

    Args:
        column: the key, the field or the number that holds the label in an item.

    Returns:
        None where the classes, or one of them, are not known.
    """
    try:
        found = _found(dataset, column)
        return found if found is not None and len(found) == len(dataset) else None
    except Exception:  # attributes of another program may raise anything; there are no labels then
        return None


def names_of(dataset: Any, column: str | None = None) -> Sequence[str] | None:
    """The names of a data set's classes by their numbers; None where it does not have them."""
    try:
        return _names_of(dataset, column)
    except Exception:
        return None


def class_name(label: Any, names: Sequence[str] | None) -> str | None:
    """One label as the name of a class: its own text, the name of that number, or the number where there are no names.

    None for a value that is not a label: a number below 0 or beyond the names, a fraction, an array.

    >>> class_name(1, ["cat", "dog"]), class_name(np.int64(7), None), class_name("dog", ["cat"]), class_name(-1, None)
    ('dog', '7', 'dog', None)
    """
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace").strip()
    if isinstance(label, str):
        return class_name(int(label), names) if label.isdecimal() and names is not None else label
    if isinstance(label, (np.ndarray, Tensor)):
        label = label.item() if label.ndim == 0 or label.shape == (1,) else None
    if isinstance(label, (bool, np.bool_)):
        return None
    try:
        number = operator.index(label)
    except TypeError:
        return None
    if number < 0 or (names is not None and number >= len(names)):
        return None
    return str(number) if names is None else names[number]


def class_names(labels: Iterable[Any], names: Sequence[str] | None) -> list[str] | None:
    """``class_name`` of each; None where one of them is not a label."""
    known: dict[Any, str | None] = {}
    found = []
    if isinstance(labels, (np.ndarray, Tensor)):
        if labels.ndim == 2 and labels.shape[1] == 1:
            labels = labels[:, 0]
        labels = labels.tolist() if labels.ndim == 1 else [None]
    for label in labels:
        key = (type(label), label) if isinstance(label, (int, str)) else None
        name = known[key] if key in known else class_name(label, names)
        if name is None:
            return None
        if key is not None:
            known[key] = name
        found.append(name)
    return found


def _found(dataset: Any, column: str | None) -> list[str] | None:
    if (whole := _whole_of(dataset)) is not None:
        labels = labels_of(whole, column)
        return None if labels is None else [labels[i] for i in dataset.indices]
    if (parts := _parts_of(dataset)) is not None:
        several = [labels_of(part, column) for part in parts]
        return None if None in several else [label for labels in several if labels is not None for label in labels]
    names = names_of(dataset, column)
    tensors = getattr(dataset, "tensors", None)
    if isinstance(tensors, (tuple, list)):
        place = 1 if column is None else int(column)
        return class_names(tensors[place], names) if len(tensors) > place else None
    if (found := _label_column(dataset, column)) is not None:
        return class_names(dataset[found], names)
    for name in _ATTRIBUTES if column is None else ():
        values = getattr(dataset, name, None)
        if isinstance(values, (list, tuple, np.ndarray, Tensor)) and len(values) == len(dataset):
            return class_names(values, names)
    if isinstance(dataset, (list, tuple)):
        return class_names((label_of(item, column) for item in dataset), names)
    return None


def _names_of(dataset: Any, column: str | None) -> Sequence[str] | None:
    if (inner := _whole_of(dataset)) is not None:
        return names_of(inner, column)
    if (parts := _parts_of(dataset)) is not None:
        names = [names_of(part, column) for part in parts]
        return names[0] if names and all(one == names[0] for one in names) else None
    if (found := _label_column(dataset, column)) is not None:
        return _class_names_of(dataset.features[found])
    classes, numbers = getattr(dataset, "classes", None), getattr(dataset, "class_to_idx", None)
    if isinstance(classes, (list, tuple, np.ndarray)):
        return [str(name) for name in classes]
    if isinstance(numbers, Mapping):
        names_by_number = {int(number): str(name) for name, number in numbers.items()}
        if sorted(names_by_number) == list(range(len(names_by_number))):
            return [names_by_number[number] for number in range(len(names_by_number))]
    return None


def _whole_of(dataset: Any) -> Any:
    """What a Subset is of."""
    inner = getattr(dataset, "dataset", None)
    return inner if inner is not None and getattr(dataset, "indices", None) is not None else None


def _parts_of(dataset: Any) -> Sequence[Any] | None:
    """What a ConcatDataset is made of."""
    parts = getattr(dataset, "datasets", None)
    return parts if isinstance(parts, (list, tuple)) and hasattr(dataset, "cumulative_sizes") else None


def _label_column(dataset: Any, column: str | None) -> str | None:
    """The label column of a Hugging Face data set: a usual name, or the only column of classes."""
    features = getattr(dataset, "features", None)
    if not isinstance(features, Mapping):
        return None
    if column is not None:
        return column
    usual = [name for name in LABEL_KEYS if name in features]
    classes = [str(name) for name, feature in features.items() if _class_names_of(feature)]
    if usual:
        return usual[0]
    return classes[0] if len(classes) == 1 else None


def _class_names_of(feature: Any) -> list[str] | None:
    """The class names of a Hugging Face column; None where it has none."""
    names = getattr(feature, "names", None)
    return [str(name) for name in names] if isinstance(names, (list, tuple)) and names else None
