"""What is kept of an image set is a monoid: the order of updates, merges and saved states change nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.fakes import FakeExtractor, cuts

from ganeval.engine.accumulator import LayerAccumulator, Requirement, SetAccumulator, SetLog
from ganeval.errors import InputError
from ganeval.protocol import get_protocol
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows

D = 5
COMPACT = get_protocol("compact")
KEY = (COMPACT, "features")
sizes = st.lists(st.integers(1, 400), min_size=1, max_size=6)


def drawn(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(3.0, 2.0, (n, D)).astype(np.float32)


def layer(rows: np.ndarray | None = None, *, kept: bool = True) -> LayerAccumulator:
    made = LayerAccumulator(Moments(D), FeatureRows(D) if kept else None)
    if rows is not None:
        made.update(rows, [""] * len(rows))
    return made


def state(one: LayerAccumulator) -> tuple[np.ndarray, np.ndarray, int, np.ndarray | None]:
    assert one.moments is not None
    gaussian = one.moments.finish()
    return gaussian.mean, gaussian.covariance, one.moments.n, None if one.rows is None else one.rows.to_array()


def require_equal(one: LayerAccumulator, other: LayerAccumulator) -> None:
    for mine, theirs in zip(state(one), state(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def require_close(one: LayerAccumulator, other: LayerAccumulator) -> None:
    for mine, theirs in zip(state(one), state(other), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


@settings(max_examples=30)
@given(n=st.integers(2, 900), parts=sizes)
def test_batches_change_no_bit(n: int, parts: list[int]) -> None:
    rows, cut = drawn(n), layer()
    for part in cuts(n, parts):
        cut.update(rows[part], [""] * (part.stop - part.start))
    require_equal(cut, layer(rows))


def test_moments_and_rows_against_numpy() -> None:
    rows = drawn(700)
    mean, covariance, n, kept = state(layer(rows))
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(covariance, np.cov(exact, rowvar=False), rtol=1e-12, atol=1e-13)
    assert n == 700
    np.testing.assert_array_equal(kept, rows)


def test_asking_changes_nothing() -> None:
    """Also half-way through a block of 256 rows."""
    rows, asked = drawn(600), layer()
    for part in cuts(600, [70]):
        asked.update(rows[part], [""] * (part.stop - part.start))
        assert asked.moments is not None
        assert asked.moments.n == part.stop
    require_equal(asked, layer(rows))


@settings(max_examples=25)
@given(a=st.integers(0, 300), b=st.integers(0, 300), c=st.integers(1, 300))
def test_merge_is_associative(a: int, b: int, c: int) -> None:
    rows = drawn(a + b + c + 1)
    parts = rows[:a], rows[a : a + b], rows[a + b :]
    left, middle = layer(parts[0]), layer(parts[1])
    left.merge(middle)
    left.merge(layer(parts[2]))
    middle.merge(layer(parts[2]))
    right = layer(parts[0])
    right.merge(middle)
    for one in (left, right):
        require_close(one, layer(rows))


def test_what_is_merged_stays_as_it_is() -> None:
    rows = drawn(500)
    one, other = layer(rows[:300]), layer(rows[300:])
    before = state(layer(rows[300:]))
    one.merge(other)
    one.update(drawn(40, seed=1), [""] * 40)
    for mine, theirs in zip(state(other), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@settings(max_examples=25)
@given(first=st.integers(0, 600), rest=st.integers(1, 300), kept=st.booleans())
def test_saved_and_continued_changes_no_bit(first: int, rest: int, kept: bool) -> None:
    rows = drawn(first + rest + 1)
    arrays = layer(rows[:first], kept=kept).to_arrays()
    again = layer(kept=kept).loaded(arrays)
    again.update(rows[first:], [""] * (rest + 1))
    require_equal(again, layer(rows, kept=kept))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_none_is_named_iv(value: float) -> None:
    rows = drawn(9)
    rows[4, 2] = value
    with pytest.raises(InputError, match=r"four\.png"):
        layer().update(rows, [*"0123", "four.png", *"5678"])


def test_a_state_of_another_network_is_refused_iv() -> None:
    other = LayerAccumulator(Moments(D + 1), None)
    other.update(np.ones((3, D + 1), np.float32), [""] * 3)
    with pytest.raises(ValueError, match=f"{D + 1} features"):
        layer(kept=False).loaded(other.to_arrays())


# --- what was met on the way -------------------------------------------------------------------------------------

counts = st.dictionaries(st.sampled_from(["grey", "alpha", "CMYK"]), st.integers(0, 9))
logs = st.builds(
    SetLog,
    labels=st.none() | st.lists(st.sampled_from(["cat", "dog"]), max_size=3),
    notes=counts,
    formats=counts,
    ignored=counts,
    pixels=counts,
    skipped=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 9), st.just("a"), st.just("cut off")), max_size=2),
    sources=st.lists(st.fixed_dictionaries({"spec": st.sampled_from(["a", "b"])}), max_size=2, unique_by=str),
    blocks=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(1, 9)), max_size=3),
    segments=st.integers(0, 2),
    recalled=st.integers(0, 9),
)


def merged(*logs: SetLog) -> SetLog:
    whole = SetLog()
    for one in logs:
        whole.merge(one)
    return whole


@settings(max_examples=40)
@given(a=logs, b=logs, c=logs)
def test_logs_are_a_monoid(a: SetLog, b: SetLog, c: SetLog) -> None:
    assert merged(merged(a, b), c) == merged(a, merged(b, c)) == merged(a, b, c)
    assert merged(SetLog(), merged(a)) == merged(merged(a), SetLog()) == merged(a)


# --- a whole set -------------------------------------------------------------------------------------------------


def accumulator(**more: bool) -> SetAccumulator:
    needed = Requirement(**{"moments": True, "rows": True, **more})
    return SetAccumulator({COMPACT: FakeExtractor(D)}, {KEY: needed})  # type: ignore[dict-item]


def filled(rows: np.ndarray, first: int = 0, **log: object) -> SetAccumulator:
    made = accumulator()
    made.layers[KEY].update(rows, [""] * len(rows))
    digests = np.arange(first, first + len(rows), dtype=np.uint64) + 2**63
    made.update(len(rows), digests)
    made.add_inputs(digests + np.uint64(7))
    made.log.merge(SetLog(segments=1, blocks=[(0, 0, len(rows))], **log))  # type: ignore[arg-type]
    return made


def require_same(one: SetAccumulator, other: SetAccumulator) -> None:
    require_close(one.layers[KEY], other.layers[KEY])
    mine, theirs = one.finish("fake"), other.finish("fake")
    assert (mine.n, mine.digest, mine.warnings) == (theirs.n, theirs.digest, theirs.warnings)
    assert mine.provenance == theirs.provenance
    np.testing.assert_array_equal(mine.image_digests, theirs.image_digests)
    np.testing.assert_array_equal(mine.input_digests, theirs.input_digests)


def test_sets_merge_into_the_whole() -> None:
    rows = drawn(300)
    first, second = filled(rows[:120], labels=["cat"] * 120), filled(rows[120:], 120, labels=["dog"] * 180)
    first.merge(second)
    require_same(first, filled(rows, labels=["cat"] * 120 + ["dog"] * 180))
    features = first.finish("fake").layers[KEY]
    assert features.labels is not None
    assert features.labels.tolist() == ["cat"] * 120 + ["dog"] * 180
    assert second.n == 180


def test_a_saved_set_is_the_same_set() -> None:
    made = filled(drawn(40), notes={"grey": 3}, skipped=[(0, 4, "b.png", "cut off")])
    again = accumulator()
    again.load(made.to_arrays())
    require_same(again, made)
    assert again.finish("fake").warnings == (
        "fake: 3 images: grey",
        "fake: 1 unreadable file skipped (b.png)",
    )


def test_the_digest_of_a_set_is_of_its_images_in_any_order() -> None:
    rows = drawn(20)
    one, other = filled(rows[:8]), filled(rows[8:], 8)
    turned = filled(rows[8:], 8)
    turned.merge(filled(rows[:8]))
    one.merge(other)
    assert one.finish("fake").digest == turned.finish("fake").digest != filled(rows, 1).finish("fake").digest


@pytest.mark.parametrize(("moments", "rows"), [(True, False), (False, True)])
def test_nothing_is_kept_that_no_metric_needs(moments: bool, rows: bool) -> None:
    made = accumulator(moments=moments, rows=rows)
    made.layers[KEY].update(drawn(30), [""] * 30)
    made.update(30, None)
    features = made.finish("fake").layers[KEY]
    assert (features.gaussian is not None, features.rows is not None) == (moments, rows)


def test_inputs_are_known_of_all_or_of_none() -> None:
    made = filled(drawn(5))
    assert len(made.finish("fake").input_digests) == 5
    made.add_inputs(None)
    made.add_inputs(np.arange(3, dtype=np.uint64))
    assert len(made.finish("fake").input_digests) == 0


@pytest.mark.parametrize("damage", ["log", "digests", "0.rows", "0.waiting", "0.moments.n"])
def test_a_state_that_lacks_something_iv(damage: str) -> None:
    arrays = filled(drawn(9)).to_arrays()
    del arrays[damage]
    with pytest.raises(InputError, match="state of (Moments|an Evaluator)"):
        accumulator().load(arrays)


def test_a_set_that_failed_half_way_iv() -> None:
    made = filled(drawn(9))
    made.failed = True
    for call in (made.to_arrays, lambda: made.merge(accumulator()), lambda: accumulator().merge(made)):
        with pytest.raises(InputError, match="failed half-way"):
            call()
