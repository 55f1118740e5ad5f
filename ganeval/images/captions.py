"""The caption of each image of a source: from files next to the images, from a table, or from a list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os.path import splitext
from pathlib import Path

from ganeval.errors import ConfigError, InputError, listed, number_of
from ganeval.images.columns import caption_column as column_of_captions
from ganeval.images.decode import UnreadableImage
from ganeval.images.names import shared_folders
from ganeval.images.side_files import CAPTION_SUFFIX, stems
from ganeval.images.types import NumberedSource
from ganeval.parsing.arguments import option
from ganeval.parsing.tables import Table, read_rows
from ganeval.parsing.texts import decoded, lines_of, read_bytes

NAME_COLUMNS = ("name", "image", "file", "file_name", "filename")
_SHOWN = 40  # characters of a value in a message

# a file or a folder, captions in the order of the images, or captions by the name of the image
Captions = str | Path | Sequence[str] | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Assigned:
    """The captions of a source.

    Attributes:
        captions: one for each image, in order; None where an image has none, or an empty one.
        unused: names of captions that belong to no image.
        by_order: captions were assigned by the order of the images.
        column: of the images' own source, where the captions are from one.
        rows: what each image is called in messages; None: by its name.
    """

    captions: list[str | None]
    unused: list[str] = field(default_factory=list)
    by_order: bool = False
    column: str | None = None
    rows: list[str] | None = None


def assign_captions(
    source: NumberedSource,
    given: Captions | None,
    *,
    name_column: str | None = None,
    caption_column: str | None = None,
    of_prompts: bool = False,
) -> Assigned:
    """Find the caption of each image of a source.

    Args:
        given: a table (CSV, JSON Lines or Parquet), a ``.txt`` file with one caption a line in the order of the images,
            a folder of ``.txt`` files, a list, or a mapping by name; None: the prompts of a generator, a column of the
            rows that hold the images, or else the ``.txt`` file next to each image.
        name_column: of a table; None: a usual one. A table without a column of names has the captions in the order of
            the images.
        caption_column: of a table, or of the rows that hold the images; None: a usual one.
        of_prompts: the prompts of a generator are in a column too.

    Raises:
        InputError: captions that cannot be read, or another number of captions than of images where they have no names.
        ConfigError: a column is named, and the captions are not in columns.
    """
    _require_columns(source, given, name_column, None if of_prompts else caption_column)
    if given is None and (prompts := source.prompts()) is not None:
        return Assigned([*prompts])
    if given is None:
        if (columns := source.columns()) is not None:
            otherwise = f", or give them with {option('captions')}"
            return _from_column(source, column_of_captions(source.spec, columns, caption_column, otherwise))
        return _next_to_the_images(source)
    if not isinstance(given, str | Path):
        for caption in given.values() if isinstance(given, Mapping) else given:
            if not isinstance(caption, str):
                raise InputError(f"captions has {repr(caption)[:_SHOWN]}; expected a text for each image.")
        if isinstance(given, Mapping):
            return _by_name(source, given, "captions")
        return _by_order(source, list(given), "captions")
    path = Path(given)
    if _is_table(path):
        return _from_table(source, read_rows(path, "captions"), name_column, caption_column)
    if path.is_dir():
        return _by_name(source, _in_folder(path), str(path))
    return _by_order(source, lines_of(decoded(read_bytes(path), str(path))), str(path))


def _is_table(path: Path) -> bool:
    return not path.is_dir() and path.suffix.lower() != CAPTION_SUFFIX


def _require_columns(
    source: NumberedSource, given: Captions | None, name_column: str | None, caption_column: str | None
) -> None:
    """Raises ConfigError where a column is named and has no effect."""
    if isinstance(given, str | Path) and _is_table(Path(given)):
        return
    if name_column is not None:
        raise ConfigError(
            f"{option('name_column')} names a column of a table of captions, and {option('captions')} is not a table "
            "(CSV, JSON Lines, Parquet). Leave it out."
        )
    if caption_column is not None and (given is not None or source.columns() is None):
        where = f"the images of {source.spec} are not in rows with columns"
        if given is not None:
            where = f"{given if isinstance(given, str | Path) else 'the captions from Python'} has no columns"
        raise ConfigError(f"{option('caption_column')} has no effect: {where}. Leave it out.")


def _from_column(source: NumberedSource, column: str) -> Assigned:
    """The captions in a column of the rows that hold the images."""
    rows = [f"#{index}" for index in source.indices.tolist()]
    if (names := source.names()) is not None:
        rows = [row if row == name else f"{row} ({name})" for row, name in zip(rows, names, strict=True)]
    captions: list[str | None] = []
    try:
        for row, cell in zip(rows, source.cells(column), strict=True):
            captions.append(_text(cell, f"{source.spec}, {row}", column) or None)
    except UnreadableImage as error:
        raise InputError(f"{source.spec}, {rows[len(captions)]}: {error}. Correct the row.") from error
    return Assigned(captions, column=column, rows=rows)


def _next_to_the_images(source: NumberedSource) -> Assigned:
    found = source.captions()
    names = source.names()
    if found is None or names is None or all(one is None for one in found):
        raise InputError(
            f"the images of {source.spec} have no {CAPTION_SUFFIX} files next to them. Name the captions with "
            f"{option('captions')}."
        )
    texts = zip(names, found, strict=True)
    return Assigned([decoded(one or b"", f"the caption of {name}").strip() or None for name, one in texts])


def _from_table(source: NumberedSource, table: Table, name_column: str | None, caption_column: str | None) -> Assigned:
    column = column_of_captions(str(table.path), table.columns, caption_column)
    cells = zip(table.places, table.column(column), strict=True)
    captions = [_text(cell, f"{table.path}, {place}", column) for place, cell in cells]
    names = name_column or next((name for name in NAME_COLUMNS if name in table.columns), None)
    if names is None:
        return _by_order(source, captions, str(table.path))
    return _by_name(source, dict(zip(_names(table, names), captions, strict=True)), str(table.path))


def _names(table: Table, column: str) -> list[str]:
    names = table.texts(column)
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(
            f"{table.path} has several captions for one name: {listed(twice)}. Expected one caption for each image."
        )
    return names


def _text(cell: object, where: str, column: str) -> str:
    if cell is None or isinstance(cell, str):
        return (cell or "").strip()
    raise InputError(f"{where}: column {column!r} has {repr(cell)[:_SHOWN]}; expected a text.")


def _in_folder(folder: Path) -> dict[str, str]:
    paths = sorted(folder.rglob(f"*{CAPTION_SUFFIX}"))
    if not paths:
        raise InputError(f"the folder {folder} has no {CAPTION_SUFFIX} files. Expected one for each image.")
    return {path.relative_to(folder).as_posix(): decoded(read_bytes(path), str(path)).strip() for path in paths}


def _by_order(source: NumberedSource, captions: Sequence[str], where: str) -> Assigned:
    if len(captions) != source.length:
        raise InputError(
            f"{where} has {number_of(len(captions), 'caption')} and no names of images, and {source.spec} has "
            f"{number_of(source.length, 'image')}. Expected one caption for each image, or a column with the names of "
            f"the images ({option('name_column')})."
        )
    return Assigned([caption.strip() or None for caption in captions], by_order=True)


def _by_name(source: NumberedSource, table: Mapping[str, str], where: str) -> Assigned:
    """By the path of an image, also below the folders that all images share, or by its file name where each is unique.

    Each with its suffix or without.
    """
    images = source.names()
    if images is None:
        raise InputError(
            f"{where} has captions by the names of images, and the images of {source.spec} have no names. Give the "
            "captions in the order of the images."
        )
    known = {_path(name): name for name in table}
    by_stem: dict[str, list[str]] = {}
    for path, name in known.items():
        by_stem.setdefault(splitext(path)[0], []).append(name)
    folders, files = shared_folders(images), [image.rpartition("/")[2] for image in images]
    unique = len(set(files)) == len(files)
    used, captions = set[str](), list[str | None]()
    for image, file in zip(images, files, strict=True):
        paths = [image, "/".join(image.split("/")[folders:]), *([file] if unique else [])]
        without = [stem for path in paths for stem in stems(path)]
        found = [known[path] for path in (*paths, *without) if path in known][:1]
        found = found or next((by_stem[stem] for stem in without if stem in by_stem), [])
        if len({table[name] for name in found}) > 1:
            raise InputError(f"{where} has several captions for the image {image!r}: of {listed(found)}. Keep one.")
        used.update(found)
        captions.append((table[found[0]].strip() or None) if found else None)
    return Assigned(captions, [name for name in table if name not in used])


def _path(name: str) -> str:
    return name.replace("\\", "/").removeprefix("./")
