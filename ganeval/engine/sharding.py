"""One set of images over several ranks: who takes which batch, and how what they made becomes one again, in order.

Rank r takes the batches r, r + size, ... that one process would draw, so that every image meets the network in the
batch that it would meet there, and no image is padded in or counted twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from ganeval.distributed import Group
from ganeval.engine.accumulator import LayerAccumulator, SetAccumulator, SetLog
from ganeval.images.types import ImageBatch, ImageSource, NumberedSource, SourceReport
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows

B = TypeVar("B")
_PULSE = 4  # batches after which ranks look whether all are still there
_TWICE = "given by more than one rank (does a DistributedSampler pad?); each counts"
_WINDOW = 8 * 2**20  # bytes of rows that are gathered at once


class RankShare:
    """This rank's batches of a source that all ranks opened alike.

    Attributes:
        report: of these images; the first rank alone reports what is known of the source as a whole, or was met by
            every rank.
        blocks: (number, images) of each batch that was drawn, numbered as one process would draw them; complete once
            the batches are drawn. Files that are skipped leave their batch smaller.
        part: these images as a source; None of what has no numbers.
    """

    def __init__(self, source: ImageSource, group: Group, batch_size: int) -> None:
        self._source, self._group, self._size = source, group, batch_size
        self.blocks: list[tuple[int, int]] = []
        self.report = SourceReport()
        self.part: NumberedSource | None = None
        if isinstance(source, NumberedSource):
            starts = range(group.rank * batch_size, source.length, group.size * batch_size)
            runs = [np.arange(start, min(start + batch_size, source.length)) for start in starts]
            self.rows = np.concatenate(runs) if runs else np.empty(0, np.intp)
            self.part = source.part(self.rows)
            self.report = self.part.report

    def batches(self, call: str, **drawing: Any) -> Iterator[ImageBatch]:
        """Draw them; every few batches the ranks hear whether one of them failed.

        Args:
            drawing: as for ``ImageSource.batches``.

        Raises:
            RankError: one did.
        """
        group, size = self._group, self._size
        if self.part is None:
            yield from self._of_a_stream(call, **drawing)
            return
        rounds = math.ceil(math.ceil((self._source.length or 0) / size) / group.size)
        yield from pulsed(self.part.batches(size, **drawing), rounds, group, call)
        usable = np.ones(len(self.rows), bool)
        usable[self.report.skipped_places] = False
        for i, start in enumerate(range(0, len(self.rows), size)):
            self.blocks.append((group.rank + i * group.size, int(usable[start : start + size].sum())))

    def _of_a_stream(self, call: str, **drawing: Any) -> Iterator[ImageBatch]:
        """What has no numbers is read by every rank as a whole."""
        group = self._group
        for number, batch in enumerate(self._source.batches(self._size, **drawing)):
            if number % _PULSE == 0:
                group.agree(call)
            if number % group.size == group.rank:
                self.blocks.append((number, len(batch.names)))
                yield batch
        if group.rank == 0:
            self.report = self._source.report


def pulsed(batches: Iterable[B], most: int, group: Group, call: str) -> Iterator[B]:
    """The batches of this rank; every few of them the ranks hear whether one of them failed.

    Args:
        most: batches of the rank that has the most.

    Raises:
        RankError: one did.
    """
    drawn = 0
    for batch in batches:
        if drawn % _PULSE == 0:
            group.agree(call)
        drawn += 1
        yield batch
    for _ in range(math.ceil(drawn / _PULSE), math.ceil(most / _PULSE)):  # that other ranks still wait for
        group.agree(call)


class Order:
    """Order of the images of all ranks.

    Args:
        tables: by rank, (b, 3) of (segment, block, images), in the order in which that rank has them. The whole is
            ordered by segment, then block, then rank.
    """

    def __init__(self, tables: Sequence[np.ndarray]) -> None:
        entries = [(int(s), int(b), rank, int(n)) for rank, table in enumerate(tables) for s, b, n in table]
        self._runs = [(rank, n) for _, _, rank, n in sorted(entries)]
        self.ranks = len(tables)
        self.n = sum(n for _, n in self._runs)

    def runs(self) -> Iterator[tuple[int, slice]]:
        """The whole as (rank, which of that rank's images), one after another."""
        done = [0] * self.ranks
        for rank, n in self._runs:
            yield rank, slice(done[rank], done[rank] + n)
            done[rank] += n

    def arranged(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        """One entry an image, from every rank's, in the order of the whole."""
        return np.concatenate([parts[0][:0], *(parts[rank][part] for rank, part in self.runs())])

    def windows(self, most: int) -> Iterator[list[tuple[int, int]]]:
        """The whole cut into lists of (rank, images) of at most ``most`` images each."""
        window: list[tuple[int, int]] = []
        room = most
        for rank, n in self._runs:
            left = n
            while left:
                take = min(left, room)
                window.append((rank, take))
                left, room = left - take, room - take
                if not room:
                    yield window
                    window, room = [], most
        if window:
            yield window


def gathered_rows(rows: FeatureRows, order: Order, group: Group, call: str) -> Iterator[np.ndarray]:
    """All ranks' rows in the order of the whole, a few MB at a time."""
    done = 0
    for window in order.windows(max(1, _WINDOW // max(1, 4 * rows.dimension))):
        mine = sum(n for rank, n in window if rank == group.rank)
        parts = group.gather(rows.read(done, done + mine), call)
        done += mine
        taken = [0] * order.ranks
        for rank, n in window:
            yield parts[rank][taken[rank] : taken[rank] + n]
            taken[rank] += n


def summed_moments(moments: Moments, group: Group, call: str) -> Moments:
    """The moments of all ranks' rows: their states at one shift, added up in float64."""
    known = moments.shift[None] if moments.shift is not None else np.empty((0, moments.dimension))
    shifts = np.concatenate(group.gather(known, call))
    if not len(shifts):
        return Moments(moments.dimension)
    own = Moments.from_arrays(moments.to_arrays())
    own.rebase(shifts[0])
    state = own.to_arrays()
    names = ("n", "sum", "outer")
    sums = group.sums([state[name] for name in names], call)
    return Moments.from_arrays({**state, **dict(zip(names, sums, strict=True)), "shift": shifts[0]})


def gathered(accumulator: SetAccumulator, group: Group, call: str) -> SetAccumulator:
    """What all ranks have seen, the same on every rank and in the order of one process; itself, on one process.

    Moments are added up in float64; rows are gathered a few MB at a time, into a temporary file beyond ``memory``.
    """
    accumulator.require_complete()
    if group.size == 1:
        return accumulator
    order = Order(group.gather(np.array(accumulator.log.blocks, np.int64).reshape(-1, 3), f"{call}: batches"))
    whole = SetAccumulator(
        accumulator.extractors,
        accumulator.requirements,
        memory=accumulator.memory,
        expected=order.n,
        grouping=accumulator.grouping,
    )
    try:
        for key, layer in accumulator.layers.items():
            what = f"{call}: {key[1]} of {key[0].name}"
            moments = None if (own := layer.moments) is None else summed_moments(own, group, what)
            rows = whole.layers[key].rows
            if layer.rows is not None and rows is not None:
                if not accumulator.extractors[key[0]].dimensions:  # a rank without images does not know the width
                    widths = group.gather(np.array([layer.rows.dimension]), what)
                    layer.rows.take_width(max(int(width[0]) for width in widths))
                for block in gathered_rows(layer.rows, order, group, what):
                    rows.append(block)
            whole.layers[key] = LayerAccumulator(moments, rows)
        digests = group.gather(accumulator.image_digests, f"{call}: digests")
        groups = group.gather(accumulator.groups, f"{call}: groups") if accumulator.grouping is not None else None
        inputs = accumulator.inputs
        all_inputs = group.gather(np.empty(0, np.uint64) if inputs is None else inputs, f"{call}: inputs")
        mine = [msgspec.to_builtins(accumulator.log), inputs is not None, accumulator.separate]
        logs, known, separate = zip(*group.gather_json(mine, f"{call}: reports"), strict=True)
    except BaseException:
        whole.close()
        raise
    everything = np.concatenate(digests)
    distinct = len(np.unique(everything))
    if len(everything) == order.n:
        everything = order.arranged(digests)
    whole.update(order.n, everything, None if groups is None else order.arranged(groups))
    whole.inputs = order.arranged(all_inputs) if all(known) else None
    whole.log = _one_log([msgspec.convert(log, SetLog) for log in logs], order)
    twice = sum(len(np.unique(one)) for one in digests) - distinct
    if twice and any(separate):
        whole.log.notes[_TWICE] = twice
    return whole


def _one_log(logs: Sequence[SetLog], order: Order) -> SetLog:
    """What all ranks have met, as one process would have it."""
    whole = SetLog(blocks=[(0, 0, order.n)])
    for log in logs:
        whole.add_counts(log)
        whole.add_sources(log.sources)
        whole.skipped += log.skipped
        whole.recalled += log.recalled
    whole.skipped.sort(key=lambda one: one[:2])
    labels = [log.labels for log in logs]
    whole.labels = None
    if all(one is not None for one in labels):
        whole.labels = [label for rank, part in order.runs() for label in labels[rank][part]]  # type: ignore[index]
    return whole
