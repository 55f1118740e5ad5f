"""Ranks share the images of a set, and what they made becomes what one process makes, in its order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import FakeExtractor, over_ranks

from ganeval.distributed import Group
from ganeval.engine.accumulator import Requirement, SetAccumulator, SetLog
from ganeval.engine.sharding import Order, RankShare, gathered, gathered_rows, summed_moments
from ganeval.errors import InputError
from ganeval.images.open import open_images
from ganeval.protocol import get_protocol
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows

D = 5
COMPACT = get_protocol("compact")
KEY = (COMPACT, "features")
RANKS = [2, 3]

blocks = st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 4), st.integers(0, 3))


def by_rank(entries: list[tuple[int, int, int, int]]) -> list[np.ndarray]:
    """For each of four ranks its (segment, block, images), each block once and in order."""
    tables = []
    for rank in range(4):
        own = {(segment, block): n for segment, block, n, owner in entries if owner == rank}
        tables.append(np.array([(*at, n) for at, n in sorted(own.items())], np.int64).reshape(-1, 3))
    return tables


tables = st.lists(blocks, max_size=12).map(by_rank)


@given(tables=tables)
def test_the_order_is_by_segment_block_and_rank(tables: list[np.ndarray]) -> None:
    named = [[(int(s), int(b), rank, i) for s, b, n in table for i in range(n)] for rank, table in enumerate(tables)]
    order = Order(tables)
    numbers = [np.array([hash(name) for name in names], np.int64) for names in named]
    expected = [hash(name) for name in sorted(name for names in named for name in names)]
    assert order.n == len(expected)
    assert order.arranged(numbers).tolist() == expected


@given(tables=tables, most=st.integers(1, 9))
def test_windows_are_the_whole_in_order(tables: list[np.ndarray], most: int) -> None:
    order = Order(tables)
    windows = list(order.windows(most))
    lengths = [sum(n for _, n in window) for window in windows]
    assert all(length == most for length in lengths[:-1])
    assert all(0 < length <= most for length in lengths)
    runs = [rank for rank, part in order.runs() for _ in range(part.stop - part.start)]
    assert [rank for window in windows for rank, n in window for _ in range(n)] == runs


def drawn(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(2.0, 1.5, (n, D)).astype(np.float32)


def pixels(n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", RANKS)
@pytest.mark.parametrize("n", [1, 7, 8, 40, 65])
def test_shares_are_the_batches_of_one_process(n: int, size: int) -> None:
    images = pixels(n)
    alone = [batch.images.numpy() for batch in open_images(images).batches(8)]  # type: ignore[union-attr]

    def draw(group: Group) -> tuple[list[np.ndarray], RankShare]:
        share = RankShare(open_images(images), group, 8)
        return [batch.images.numpy() for batch in share.batches("x")], share  # type: ignore[union-attr]

    seen: dict[int, np.ndarray] = {}
    for batches, share in over_ranks(size, draw):
        for (number, images_in_it), batch in zip(share.blocks, batches, strict=True):
            assert len(batch) == images_in_it
            seen[number] = batch
    assert sorted(seen) == list(range(len(alone)))
    for number, batch in enumerate(alone):
        np.testing.assert_array_equal(seen[number], batch)


@settings(max_examples=15)
@given(counts=st.lists(st.integers(0, 60), min_size=2, max_size=4).filter(lambda counts: sum(counts) > 1))
def test_sums_of_moments_are_those_of_all_rows(counts: list[int]) -> None:
    """Also where a rank has none."""
    rows = drawn(sum(counts))
    ends = np.cumsum([0, *counts])

    def work(group: Group) -> Moments:
        own = Moments(D)
        if counts[group.rank]:
            own.update(rows[ends[group.rank] : ends[group.rank + 1]])
        before = own.to_arrays()
        whole = summed_moments(own, group, "x")
        for name, array in own.to_arrays().items():
            np.testing.assert_array_equal(array, before[name])
        return whole

    found = over_ranks(len(counts), work)
    expected = Moments(D)
    expected.update(rows)
    for one in found:
        assert one.n == len(rows)
        np.testing.assert_allclose(one.finish().mean, expected.finish().mean, rtol=1e-12)
        np.testing.assert_allclose(one.finish().covariance, expected.finish().covariance, rtol=1e-11, atol=1e-12)
        np.testing.assert_array_equal(one.finish().mean, found[0].finish().mean)


def test_rows_come_in_order_over_many_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganeval.engine.sharding._WINDOW", 4 * D * 7)  # seven rows
    rows, blocks = drawn(100), [slice(start, min(start + 8, 100)) for start in range(0, 100, 8)]

    def work(group: Group) -> np.ndarray:
        mine = list(enumerate(blocks))[group.rank :: group.size]
        own = FeatureRows(D)
        for _, part in mine:
            own.append(rows[part])
        table = np.array([(0, number, part.stop - part.start) for number, part in mine], np.int64)
        order = Order(group.gather(table, "tables"))
        return np.concatenate(list(gathered_rows(own, order, group, "x")))

    for found in over_ranks(3, work):
        np.testing.assert_array_equal(found, rows)


# --- a whole set -------------------------------------------------------------------------------------------------


def accumulator() -> SetAccumulator:
    return SetAccumulator({COMPACT: FakeExtractor(D)}, {KEY: Requirement(True, True)})  # type: ignore[dict-item]


def add(made: SetAccumulator, rows: np.ndarray, parts: list[tuple[int, slice]]) -> SetAccumulator:
    """The blocks of one source, as one rank meets them."""
    for number, part in parts:
        n = part.stop - part.start
        made.layers[KEY].update(rows[part], [""] * n)
        made.update(n, np.arange(part.start, part.stop, dtype=np.uint64))
        made.add_inputs(np.arange(part.start, part.stop, dtype=np.uint64))
        made.log.blocks.append((made.log.segments, number, n))
        made.log.labels = [*(made.log.labels or ()), *(f"class {i % 3}" for i in range(part.start, part.stop))]
        made.log.add_counts(SetLog(notes={"grey": n}))
    made.log.segments += 1
    made.log.add_sources([{"spec": "here", "kind": "array"}])
    return made


@pytest.mark.parametrize("size", RANKS)
def test_what_ranks_gather_is_what_one_process_has(size: int) -> None:
    """Rows, digests, inputs and labels in its order, to the bit; moments to 1e-12; the same on every rank."""
    rows = drawn(90)
    parts = [(number, slice(start, min(start + 8, 90))) for number, start in enumerate(range(0, 90, 8))]
    expected = add(accumulator(), rows, parts).finish("fake")

    def work(group: Group) -> SetAccumulator:
        return gathered(add(accumulator(), rows, parts[group.rank :: group.size]), group, "fake images")

    for whole in over_ranks(size, work):
        found = whole.finish("fake")
        assert (found.n, found.digest, found.warnings) == (90, expected.digest, expected.warnings)
        assert found.provenance == expected.provenance
        np.testing.assert_array_equal(found.image_digests, expected.image_digests)
        np.testing.assert_array_equal(found.input_digests, expected.input_digests)
        mine, theirs = found.layers[KEY], expected.layers[KEY]
        assert mine.rows is not None
        np.testing.assert_array_equal(mine.rows.to_array(), rows)
        np.testing.assert_array_equal(mine.labels, theirs.labels)
        assert mine.gaussian is not None
        assert theirs.gaussian is not None
        np.testing.assert_allclose(mine.gaussian.covariance, theirs.gaussian.covariance, rtol=1e-11, atol=1e-12)


def test_images_that_two_ranks_were_given_are_noted() -> None:
    rows = drawn(20)

    def work(group: Group) -> SetAccumulator:
        own = add(accumulator(), rows, [(0, slice(0, 12) if group.rank == 0 else slice(8, 20))])
        own.separate = True
        return gathered(own, group, "fake images")

    for whole in over_ranks(2, work):
        assert whole.n == 24
        (note,) = [note for note in whole.log.notes if "more than one rank" in note]
        assert whole.log.notes[note] == 4


def test_one_process_is_given_back_what_it_has() -> None:
    own = add(accumulator(), drawn(9), [(0, slice(0, 9))])
    assert gathered(own, Group(), "x") is own


def test_a_set_that_failed_is_not_gathered_iv() -> None:
    own = accumulator()
    own.failed = True
    with pytest.raises(InputError, match="failed half-way"):
        gathered(own, Group(), "x")
