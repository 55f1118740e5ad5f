"""Which columns of a file hold the image and the label, by the options or by the names that people use."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ganeval.errors import InputError, did_you_mean, listed
from ganeval.images.items import IMAGE_KEYS, LABEL_KEYS
from ganeval.images.options import CAPTION_COLUMNS
from ganeval.parsing.arguments import option


def image_column(what: str, columns: Collection[str], likely: Sequence[str], chosen: str | None) -> str:
    """The column of the images: the chosen one, one of a usual name, or the only one that can hold images.

    Args:
        what: the file, in messages.
        columns: the names of all columns.
        likely: those that can hold images, by their type.
        chosen: by the user; its type is not checked.

    Raises:
        InputError: no such column, no column that can hold images, or several.
    """
    if chosen is not None:
        return _existing(what, "image_column", columns, chosen)
    usual = [name for name in IMAGE_KEYS if name in likely]
    if not likely:
        raise InputError(
            f"{what} has no column of images; its columns are {listed(list(columns), 12) or 'none'}. "
            f"Name the one that holds them with {option('image_column')}."
        )
    if not usual and len(likely) > 1:
        raise InputError(
            f"{what} has several columns that may be the images: {listed(likely, 12)}. "
            f"Name one with {option('image_column')}."
        )
    return (usual or list(likely))[0]


def label_column(what: str, columns: Collection[str], classes: Sequence[str], chosen: str | None) -> str | None:
    """The column of the labels: the chosen one, one of a usual name, or the only one of classes; None for none.

    Args:
        classes: columns that the file declares to hold classes.

    Raises:
        InputError: the chosen one does not exist.
    """
    if chosen is not None:
        return _existing(what, "label_column", columns, chosen)
    usual = [name for name in LABEL_KEYS if name in columns]
    return usual[0] if usual else classes[0] if len(classes) == 1 else None


def require_labels(what: str, column: str, labels: list[str] | None, chosen: str | None) -> list[str] | None:
    """The labels, which must be some where the user has named their column.

    Raises:
        InputError: the column that the user has named does not hold a class for each image.
    """
    if labels is None and chosen is not None:
        raise InputError(
            f"{what}: the column {column!r} does not hold a class for every image: whole numbers from 0 on, or text. "
            f"Name another one with {option('label_column')}, or give a table with --labels-real or --labels-fake."
        )
    return labels


def caption_column(what: str, columns: Collection[str], chosen: str | None, otherwise: str = "") -> str:
    """The column of the captions: the chosen one, or the first of ``CAPTION_COLUMNS`` that is there.

    Args:
        otherwise: what else can be done where there is none.

    Raises:
        InputError: no such column.
    """
    if chosen is not None:
        return _existing(what, "caption_column", columns, chosen)
    column = next((name for name in CAPTION_COLUMNS if name in columns), None)
    if column is None:
        available = listed(list(columns), 12) or "none"
        raise InputError(
            f"{what} has no column {', '.join(CAPTION_COLUMNS)}; its columns are {available}. "
            f"Name the column of the captions with {option('caption_column')}{otherwise}."
        )
    return column


def _existing(what: str, name: str, columns: Collection[str], chosen: str) -> str:
    if chosen not in columns:
        raise InputError(
            f"{option(name)}: {what} has no column {chosen!r}; its columns are {listed(list(columns), 12) or 'none'}."
            f"{did_you_mean(chosen, columns)}"
        )
    return chosen
