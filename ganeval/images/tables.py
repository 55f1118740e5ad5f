"""Columns of encoded images in Parquet and Arrow files, as Hugging Face data sets are stored; needs pyarrow.

An image is the bytes of an image file: in a column of such bytes, or in the field ``bytes`` of a column of structs. The
field ``path`` of the struct is the image's name. It is never opened: a file of data must not lead to other files.

A Parquet file is read by row groups, of which each process holds one; an Arrow file is mapped into memory.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganeval.errors import InputError
from ganeval.images.archive import require_small
from ganeval.images.columns import image_column, label_column, require_labels
from ganeval.images.decode import UnreadableImage
from ganeval.images.indexed import EncodedFiles, PerProcess, stamp_of
from ganeval.images.labels import class_names
from ganeval.images.libraries import optional_library
from ganeval.images.options import OpenOptions
from ganeval.parsing.documents import DocumentError, parse_json

Form = Literal["parquet", "arrow"]
_PLAUSIBLE_RATIO = 5000  # of the declared size of a row group to its compressed one; images hardly compress


class TableImages(EncodedFiles):
    """Images in a column of a file.

    Args:
        path: of the file.
        form: of the file.
        column: that holds the images.
        n: rows.
        names: of the images; empty where they are called by their rows.
        max_image_bytes: of the largest image file that is read.
    """

    def __init__(self, path: Path, form: Form, column: str, n: int, names: list[str], max_image_bytes: int) -> None:
        super().__init__(names, Counter())
        self.kind = form
        self._path, self._form, self._column, self._n = path, form, column, n
        self._max_image_bytes = max_image_bytes
        self._rows = PerProcess(partial(_RowReader, path, form, column))
        self.class_names: list[str] | None = None
        self.column_names = [column]

    def __len__(self) -> int:
        return self._n

    def name(self, index: int) -> str:
        return super().name(index) if self._names else f"#{index}"

    def read(self, index: int) -> bytes:
        try:
            data = self._rows.get().read(index)
        except _broken() as error:
            raise UnreadableImage(f"the row cannot be read ({_reason(error)})") from error
        if data is None:
            raise UnreadableImage("the row has no bytes of an image; a path alone is not followed")
        require_small(len(data), self._max_image_bytes)
        return bytes(data)

    def stamp(self, index: int) -> tuple[int, ...] | None:
        return stamp_of(self._path)

    def columns(self) -> list[str] | None:
        return self.column_names

    def cells(self, column: str) -> Iterator[object]:
        try:
            blocks = _open(self._path, self._form)
            for number in range(len(blocks.sizes)):
                yield from blocks.block(number, column).to_pylist()
        except _broken() as error:
            raise UnreadableImage(f"the column {column!r} cannot be read ({_reason(error)})") from error

    def labels(self) -> list[str] | None:
        return super().labels() if self.listed_labels or self._names else None

    def classes(self) -> list[str] | None:
        return self.class_names or super().classes()

    def facts(self) -> dict[str, object]:
        return {"image_column": self._column}


def open_table(path: Path, form: Form, options: OpenOptions) -> TableImages:
    """Open a Parquet or an Arrow file.

    Raises:
        ConfigError: pyarrow is not installed.
        InputError: it is not such a file, or has no column of images or of labels.
    """
    what = str(path)
    try:
        blocks = _open(path, form)
        schema, n = blocks.schema, int(sum(blocks.sizes))
        if n > path.stat().st_size:
            raise ValueError(f"it declares {n} rows in {path.stat().st_size} bytes")
        columns = list(schema.names)
        if len(set(columns)) < len(columns):
            raise ValueError("two columns have one name")
        features = _features(schema)
        likely = [name for name in columns if _holds_bytes(schema.field(name).type)]
        declared = [name for name in likely if features.get(name, {}).get("_type") == "Image"]
        column = image_column(what, columns, declared or likely, options.image_column)
        if column not in likely:
            raise InputError(
                f"{what}: the column {column!r} holds {schema.field(column).type}; expected the bytes of image files, "
                "or structs with a field 'bytes'."
            )
        classes = [name for name in columns if name != column and _class_names(features.get(name))]
        label = label_column(what, columns, classes, options.label_column)
        names = _names(blocks, column)
        labels = None if label is None else blocks.values(label)
    except _broken() as error:
        raise InputError(
            f"{what} is not a readable {form.title()} file ({_reason(error)}). It may be cut short: write it again."
        ) from error
    if n == 0:
        raise InputError(f"{what} has no rows, and so no images.")
    images = TableImages(path, form, column, n, names, options.max_image_bytes)
    images.column_names = columns
    if label is not None and labels is not None:
        known = _class_names(features.get(label))
        found = require_labels(what, label, class_names(labels, known), options.label_column)
        images.listed_labels, images.class_names = found, None if found is None else known
    return images


class _ParquetBlocks:
    """The row groups of a Parquet file."""

    def __init__(self, path: Path) -> None:
        self._file = _arrow("parquet").ParquetFile(path)
        metadata = self._file.metadata
        self.schema = self._file.schema_arrow
        self.sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]

    def block(self, number: int, column: str) -> Any:
        group = self._file.metadata.row_group(number)
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.path_in_schema.split(".")[0] == column.split(".")[0] and (
                chunk.total_uncompressed_size > _PLAUSIBLE_RATIO * (chunk.total_compressed_size + 1)
            ):
                raise ValueError(f"row group {number} declares {chunk.total_uncompressed_size} bytes")
        return self._file.read_row_group(number, columns=[column], use_threads=False).column(column)

    def values(self, column: str, field: str | None = None) -> list[Any]:
        """All values of a column, or of one field of its structs, without the others."""
        name = column if field is None else f"{column}.{field}"
        found = self._file.read(columns=[name], use_threads=False).column(column)
        return _values(found, field)


class _ArrowBlocks:
    """The record batches of an Arrow file, or of a stream in a file."""

    def __init__(self, path: Path) -> None:
        arrow = _arrow()
        memory = arrow.memory_map(str(path))
        try:
            file = arrow.ipc.open_file(memory)
            batches = [file.get_batch(number) for number in range(file.num_record_batches)]
        except arrow.ArrowInvalid:
            memory.seek(0)
            file = arrow.ipc.open_stream(memory)
            batches = list(file)
        self.schema, self._batches = file.schema, batches
        self.sizes = [len(batch) for batch in batches]

    def block(self, number: int, column: str) -> Any:
        found = self._batches[number].column(column)
        found.validate(full=True)  # a damaged file may point outside of its memory
        return found

    def values(self, column: str, field: str | None = None) -> list[Any]:
        blocks = (self.block(number, column) for number in range(len(self._batches)))
        return [value for block in blocks for value in _values(block, field)]


class _RowReader:
    """The bytes of images by their rows; one block is held, which several threads share."""

    def __init__(self, path: Path, form: Form, column: str) -> None:
        self._blocks, self._column = _open(path, form), column
        self._ends = np.cumsum(self._blocks.sizes)
        self._lock = threading.Lock()
        self._held: tuple[int, Any] | None = None

    def read(self, row: int) -> memoryview | None:
        number = int(np.searchsorted(self._ends, row, side="right"))
        with self._lock:
            if self._held is None or self._held[0] != number:
                self._held = None  # before the next one is read
                self._held = number, _bytes_in(self._blocks.block(number, self._column))
            block = self._held[1]
        value = block[row - int(self._ends[number] - self._blocks.sizes[number])].as_buffer()
        return None if value is None else memoryview(value)


def _open(path: Path, form: Form) -> _ParquetBlocks | _ArrowBlocks:
    return _ParquetBlocks(path) if form == "parquet" else _ArrowBlocks(path)


def _names(blocks: _ParquetBlocks | _ArrowBlocks, column: str) -> list[str]:
    """The paths of the images, where they name every image; else nothing."""
    kind = blocks.schema.field(column).type
    types = _arrow().types
    if not types.is_struct(kind) or kind.get_field_index("path") < 0:
        return []
    if not (types.is_string(kind.field("path").type) or types.is_large_string(kind.field("path").type)):
        return []
    paths = blocks.values(column, "path")
    return paths if all(paths) and len(set(paths)) == len(paths) else []


def _values(found: Any, field: str | None) -> list[Any]:
    if field is not None:
        found = _arrow("compute").struct_field(found, [field])
    return found.to_pylist()  # type: ignore[no-any-return]


def _bytes_in(found: Any) -> Any:
    """The column of bytes; of structs their field ``bytes``, without the ones of missing structs."""
    if _arrow().types.is_struct(found.type):
        return _arrow("compute").struct_field(found, ["bytes"])
    return found


def _holds_bytes(kind: Any) -> bool:
    types = _arrow().types
    if types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and _holds_bytes(kind.field(place).type)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """What Hugging Face's library says of each column; nothing where another one has written the file."""
    try:
        document = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))
    except DocumentError:
        return {}
    info = document.get("info") if isinstance(document, dict) else None
    features = info.get("features") if isinstance(info, dict) else None
    if not isinstance(features, dict):
        return {}
    return {name: feature for name, feature in features.items() if isinstance(feature, dict)}


def _class_names(feature: dict[str, Any] | None) -> list[str] | None:
    names = None if feature is None else feature.get("names")
    return [str(name) for name in names] if isinstance(names, list) and names else None


def _arrow(module: str = "") -> Any:
    """pyarrow, or a module of it.

    Raises:
        ConfigError: it is not installed.
    """
    return optional_library(f"pyarrow.{module}" if module else "pyarrow", "Parquet and Arrow files", "parquet")


def _broken() -> tuple[type[Exception], ...]:
    """What pyarrow raises for files that are damaged, or made to mislead it."""
    return (_arrow().ArrowException, OSError, ValueError, LookupError, MemoryError, OverflowError, TypeError)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
