"""Partners: which image of REAL each image of FAKE belongs to, and both drawn together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from torch import Tensor

from ganeval.engine.paired_config import PairedConfig, PerceptualOptions
from ganeval.errors import ConfigError, InputError, listed, number_of
from ganeval.images.indexed import IndexedSource
from ganeval.images.names import shared_folders
from ganeval.images.types import NumberedSource
from ganeval.parsing.arguments import option

RULES = ("stem", "name", "order")


@dataclass(frozen=True, slots=True)
class Pairing:
    """Pairs of images in the order of the fakes.

    Attributes:
        real, fake: the sources as they were opened.
        places: (2, n) the place of the real and of the fake of each pair, in its source.
        notes: how partners were found, and what was left out.
    """

    real: NumberedSource
    fake: NumberedSource
    places: np.ndarray
    notes: tuple[str, ...]

    @property
    def length(self) -> int:
        return int(self.places.shape[1])

    @property
    def repeated(self) -> bool:
        """Whether several fakes have one real."""
        return len(np.unique(self.places[0])) < self.length

    @property
    def in_order(self) -> tuple[bool, bool]:
        """Whether pair i is image i of all the images of its source, for both."""
        real, fake = (
            source.length == self.length and bool((rows == np.arange(self.length)).all())
            for source, rows in zip((self.real, self.fake), self.places, strict=True)
        )
        return real, fake

    def names(self, pairs: Sequence[int]) -> tuple[list[str], list[str]]:
        """The names of the reals and of the fakes of some pairs."""
        real, fake = (
            [f"#{row}" for row in rows[pairs]] if (names := source.names()) is None else [names[i] for i in rows[pairs]]
            for source, rows in zip((self.real, self.fake), self.places, strict=True)
        )
        return real, fake

    def sources(self, pairs: np.ndarray) -> tuple[NumberedSource, NumberedSource]:
        """Reals and fakes of some pairs, in this order."""
        return self.real.part(self.places[0][pairs]), self.fake.part(self.places[1][pairs])


def find_partners(real: NumberedSource, fake: NumberedSource, config: PairedConfig) -> Pairing:
    """Find the real of each fake, by the names of the images or by their order.

    Raises:
        InputError: images without a partner (unless they are skipped), two images with one name, or no pair at all.
        ConfigError: a rule that is none, or that no image fits.
    """
    sources, sides = (real, fake), ("REAL", "FAKE")
    names = [source.names() for source in sources]
    default = "order" if None in names else "stem"
    rules = [own or config.pair_by or default for own in (config.pair_by_real, config.pair_by_fake)]
    if "order" in rules and rules != ["order", "order"]:
        raise ConfigError(f"{option('pair_by', 'order')} is for both sets; got {rules[0]!r} and {rules[1]!r}.")
    notes = [] if rules[0] != "order" or config.pair_by else ["pairs are made by order: not all images have file names"]
    keys = [_keys(*one) for one in zip(sides, sources, names, rules, strict=True)]
    for side, source, found, rule in zip(sides, sources, keys, rules, strict=True):
        if lacking := found.count(None):
            notes.append(f"{number_of(lacking, 'image')} of {side} that {rule!r} does not match were left out")
        if side == "REAL" or rule in RULES:  # several fakes of one real are what a pattern is for
            _require_unique(source.spec, found, rule)
    place = {key: i for i, key in enumerate(keys[0]) if key is not None}
    places = np.array([(place[key], i) for i, key in enumerate(keys[1]) if key in place], np.intp).reshape(-1, 2).T
    alone = [[key for key in keys[i] if key is not None and key not in set(keys[1 - i])] for i in (0, 1)]
    if not places.size or (any(alone) and config.on_unpaired == "stop"):
        by = rules[0] if rules[0] == rules[1] else " and ".join(map(repr, rules))
        raise InputError(_unpaired(alone, (real.spec, fake.spec), by, pairs=places.shape[1]))
    if any(alone):
        counts = f"{len(alone[0])} of REAL and {len(alone[1])} of FAKE"
        notes.append(f"images without a partner were left out: {counts}")
    return Pairing(real, fake, places, tuple(notes))


def _keys(side: str, source: NumberedSource, names: Sequence[str] | None, rule: str) -> list[str | None]:
    """What an image has in common with its partner; None where a pattern does not match.

    Names are paths below the folders that all images of a set share.
    """
    if rule == "order":
        return [f"#{i}" for i in range(source.length)]
    if names is None:
        raise InputError(
            f"the images of {source.spec} have no file names. Pair them with {option('pair_by', 'order')}."
        )
    folders = shared_folders(names)
    paths = [PurePosixPath(*PurePosixPath(name).parts[folders:]) for name in names]
    if rule in RULES:
        return [str(path if rule == "name" else path.with_suffix("")) for path in paths]
    expected = f"expected {', '.join(RULES)} or a regular expression"
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise ConfigError(f"{option('pair_by')}: {expected}; got {rule!r}: {error}.") from error
    matches = [pattern.search(str(path)) for path in paths]
    if not any(matches):
        raise ConfigError(
            f"{option('pair_by')} {rule!r} matches no image of {side}, such as {str(paths[0])!r}; {expected}."
        )
    return [None if match is None else match[1 if pattern.groups else 0] for match in matches]


def _require_unique(spec: str, keys: Sequence[str | None], rule: str) -> None:
    key, times = Counter(key for key in keys if key is not None).most_common(1)[0]
    if times > 1:
        advice = {"stem": f"Use {option('pair_by', 'name')}", "name": f"Use {option('pair_by', 'order')}"}
        raise InputError(
            f"{spec} has {'two' if times == 2 else times} images {key!r}, so their partners are not clear. "
            f"{advice.get(rule, f'Make the part in parentheses of {rule!r} longer')}."
        )


def _unpaired(alone: Sequence[Sequence[str]], specs: tuple[str, str], by: str, *, pairs: int) -> str:
    found = [
        f"{number_of(len(keys), 'image')} of {spec} without a partner ({listed(keys)})"
        for keys, spec in zip(alone, specs, strict=True)
        if keys
    ]
    pattern = f"name what partners have in common with {option('pair_by')}"
    advice = f"leave them out with {option('on_unpaired', 'skip')}" if pairs else pattern
    first = "Give as many reals as fakes" if by == "order" else "Rename them"
    return f"found {number_of(pairs, 'pair')} by {by}, and {'; '.join(found)}. {first}, or {advice}."


@dataclass(frozen=True, slots=True)
class PairBatch:
    """Some pairs.

    Attributes:
        rows: their places among the pairs that were drawn from.
        real, fake: uint8 (3, H, W) each.
        digests: uint64 (2, n), of reals and of fakes.
    """

    rows: list[int]
    real: list[Tensor]
    fake: list[Tensor]
    digests: np.ndarray


def draw_pairs(real: NumberedSource, fake: NumberedSource, config: PairedConfig) -> Iterator[PairBatch]:
    """Draw both in batches of pairs; with ``on_error="skip"``, a pair of which an image is unreadable is left out.

    Raises:
        InputError: an image cannot be used, or was made without digests.
    """
    ones, others = drawn_images(real, config), drawn_images(fake, config)
    size = config.batch_size
    found: list[tuple[int, Tensor, Tensor, np.uint64, np.uint64]] = []
    one, other = next(ones, None), next(others, None)
    while one is not None and other is not None:
        if one[0] == other[0]:
            found.append((one[0], one[1], other[1], one[2], other[2]))
        behind = one[0] <= other[0], other[0] <= one[0]
        one = next(ones, None) if behind[0] else one
        other = next(others, None) if behind[1] else other
        if len(found) == size:
            yield _batch(found)
            found = []
    for rest in (ones, others):  # to count what cannot be used after the last pair
        for _ in rest:
            pass
    if found:
        yield _batch(found)


def _batch(found: Sequence[tuple[int, Tensor, Tensor, np.uint64, np.uint64]]) -> PairBatch:
    rows, real, fake, *digests = zip(*found, strict=True)
    return PairBatch(list(rows), list(real), list(fake), np.array(digests, np.uint64))


def drawn_images(source: NumberedSource, config: PerceptualOptions) -> Iterator[tuple[int, Tensor, np.uint64]]:
    """Every usable image with its place; what is left out is known from the names of the others."""
    names = None
    if config.on_error == "skip" and isinstance(source, IndexedSource):
        names = [source.images.name(index) for index in source.indices.tolist()]
    place = 0
    on_error = "stop" if names is None else "skip"  # what a model makes always stops
    for batch in source.batches(config.batch_size, workers=config.workers, on_error=on_error):
        if batch.digests is None:
            raise InputError(
                f"{source.spec}: images that are made on an accelerator cannot be paired. Save them first, and pair "
                "the files."
            )
        for image, name, digest in zip(batch.images, batch.names, batch.digests, strict=True):
            while names is not None and names[place] != name:
                place += 1
            yield place, image, digest
            place += 1
