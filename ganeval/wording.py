"""Numbers in sentences."""

from __future__ import annotations


def number_of(n: int, one: str, many: str | None = None) -> str:
    """A number and what it counts.

    Args:
        one: of a single thing, a verb included where it depends on the number.
        many: of any other number; by default ``one`` with an s.

    >>> number_of(1, "image"), number_of(2, "image")
    ('1 image', '2 images')
    >>> number_of(1, "image is", "images are")
    '1 image is'
    """
    return f"{n} {one if n == 1 else many or one + 's'}"
