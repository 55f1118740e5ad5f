"""Files next to the images that have the class or the caption of each: of StyleGAN, of WebDataset, and tables."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Sequence
from os.path import splitext
from pathlib import Path

from ganeval.errors import InputError, number_of
from ganeval.images.items import label_of
from ganeval.images.labels import class_names
from ganeval.parsing.arguments import option
from ganeval.parsing.documents import DocumentError, parse_json

DATASET_JSON = "dataset.json"  # of StyleGAN's dataset_tool: {"labels": [[image, class], ...]}
CLASS_SUFFIX = ".cls"  # of WebDataset: the class of the image of the same key
JSON_SUFFIX = ".json"  # of WebDataset: more about the image of the same key
CAPTION_SUFFIX = ".txt"  # the caption of the image of the same name, or of the same WebDataset key
MOST_BYTES = 64 * 2**20
MOST_CAPTION_BYTES = 2**16
_LONGEST_CLASS, _LONGEST_JSON = 256, 2**20  # bytes


def stylegan_labels(data: bytes, names: Sequence[str]) -> list[str] | None:
    """The classes of these images from a ``dataset.json``; None where it has no class of each of them."""
    try:
        document = parse_json(data)
    except DocumentError:
        return None
    entries = document.get("labels") if isinstance(document, dict) else None
    known: dict[str, object] = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str):
            known[entry[0]] = entry[1]
    return class_names([known[name] for name in names], None) if all(name in known for name in names) else None


def webdataset_labels(names: Sequence[str], members: Collection[str], read: Callable[[str], bytes]) -> list[str] | None:
    """The classes of these images from the files of their keys; None where one has no such file.

    Read are the ``.cls`` files, or else the label in the ``.json`` files, see ``ganeval.images.items.label_of``.

    Args:
        members: names of all files.
        read: gives the content of one.
    """
    for suffix, label in ((CLASS_SUFFIX, _class_in_text), (JSON_SUFFIX, _class_in_json)):
        found = [next((stem + suffix for stem in stems(name) if stem + suffix in members), None) for name in names]
        files = [file for file in found if file is not None]
        if names and len(files) == len(names):
            return class_names((label(read(file)) for file in files), None)
    return None


def _class_in_text(data: bytes) -> bytes:
    return data[:_LONGEST_CLASS]


def _class_in_json(data: bytes) -> object:
    try:
        return label_of(parse_json(data[:_LONGEST_JSON]))
    except DocumentError:
        return None


def caption_files(name: str) -> list[str]:
    """The files that may have the caption of an image.

    >>> caption_files("a/7.input.jpg")
    ['a/7.input.txt', 'a/7.txt']
    """
    return [stem + CAPTION_SUFFIX for stem in stems(name)]


def stems(name: str) -> list[str]:
    """The name of an image without its suffix, and its WebDataset key where that is another."""
    return list(dict.fromkeys((splitext(name)[0], key_of(name))))


def column_of(name: str) -> str:
    """What follows the WebDataset key in the name of a file.

    >>> column_of("a/7.input.jpg")
    'input.jpg'
    """
    return name.rpartition("/")[2].partition(".")[2]


def key_of(name: str) -> str:
    """A WebDataset key: the path up to the first dot of the file's own name."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def read_table(path: Path, name: str, column: str) -> dict[str, str]:
    """What a CSV file says of each image: two columns, image and ``column``, below a heading.

    Args:
        name: of the option, for messages.

    Raises:
        InputError: no such file, another form, or an image that is named twice.
    """
    what = option(name)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except FileNotFoundError:
        raise InputError(f"{what}: no such file: {str(path)!r}.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{what} cannot read {path}: {error}.") from error
    wrong = next((i for i, row in enumerate(rows, 1) if len(row) != 2), None)
    if wrong is not None or len(rows) < 2:
        found = f"row {wrong} has {number_of(len(rows[wrong - 1]), 'column')}" if wrong else "found no row"
        raise InputError(f"{what} expected a CSV file with a heading and the columns image, {column}; {path}: {found}.")
    table: dict[str, str] = {}
    for image, value in rows[1:]:
        if image in table:
            raise InputError(f"{what}: {path} names the image {image!r} twice.")
        table[image] = value
    return table


def labels_from_table(path: Path, name: str, spec: str, images: Sequence[str]) -> list[str]:
    """The classes of these images from a CSV file.

    Raises:
        InputError: see ``read_table``; or it lacks an image.
    """
    table = read_table(path, name, "label")
    lacking = [image for image in images if image not in table]
    if lacking:
        raise InputError(
            f"{option(name)}: {path} has no label for {len(lacking)} of {number_of(len(images), 'image')} of {spec} "
            f"({', '.join(map(repr, lacking[:3]))}{', ...' if len(lacking) > 3 else ''})."
        )
    return [table[image] for image in images]
