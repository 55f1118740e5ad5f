"""The one loop: every image once through every network, whatever the batches."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.fakes import FakeExtractor, over_ranks, runtime

from ganeval.distributed import Group
from ganeval.engine.accumulator import LayerAccumulator, Requirement, SetAccumulator, SetFeatures
from ganeval.engine.config import InputOptions, NetworkOptions
from ganeval.engine.loop import accumulate, batching, measure_images, run
from ganeval.engine.runtime import started
from ganeval.errors import InputError, NotEnoughSamplesError
from ganeval.images.open import open_images
from ganeval.images.types import ImageBatch
from ganeval.protocol import get_protocol
from ganeval.statistics.moments import Moments
from ganeval.statistics.rows import FeatureRows

COMPACT, TTUR = get_protocol("compact"), get_protocol("ttur")
PIXELS = np.random.default_rng(0).integers(0, 256, (75, 4, 4, 3), dtype=np.uint8)
BOTH = Requirement(moments=True, rows=True)


def measured(
    extractors: dict[Any, FakeExtractor], group: Group | None = None, minimum: int = 2, **given: Any
) -> SetFeatures:
    requirements = {(protocol, "features"): BOTH for protocol in extractors}
    options = InputOptions(**given)
    source = open_images(PIXELS)
    return measure_images("fake", source, extractors, requirements, options, runtime(group), minimum=minimum)  # type: ignore[arg-type]


def rows_of(features: SetFeatures, protocol: Any) -> np.ndarray:
    rows = features.layers[protocol, "features"].rows
    assert rows is not None
    return np.array(rows.to_array())


@pytest.mark.parametrize("batch_size", [None, 1, 7, 75, 100])
def test_every_image_goes_once_through_every_network(batch_size: int | None) -> None:
    first, second = FakeExtractor(5, batch_size=16), FakeExtractor(3, batch_size=10, seed=1)
    found = measured({COMPACT: first, TTUR: second}, batch_size=batch_size)
    assert found.n == 75
    for protocol, network in ((COMPACT, first), (TTUR, second)):
        expected = network.features(PIXELS)
        np.testing.assert_array_equal(rows_of(found, protocol), expected)
        gaussian = found.layers[protocol, "features"].gaussian
        assert gaussian is not None
        np.testing.assert_allclose(gaussian.mean, expected.astype(float).mean(axis=0), rtol=1e-12)
    assert first.seen == second.seen  # one pass, in batches that suit both
    assert max(first.seen) == min(batch_size or 10, 75)


def test_the_batch_size_changes_no_bit() -> None:
    one, other = (measured({COMPACT: FakeExtractor(5)}, batch_size=size) for size in (3, 64))
    for name in ("mean", "covariance"):
        mine, theirs = (getattr(x.layers[COMPACT, "features"].gaussian, name) for x in (one, other))
        np.testing.assert_array_equal(mine, theirs)
    assert one.digest == other.digest
    np.testing.assert_array_equal(one.image_digests, other.image_digests)


@pytest.mark.parametrize("size", [2, 3])
def test_ranks_measure_what_one_process_does(size: int) -> None:
    expected = measured({COMPACT: FakeExtractor(5)})
    for found in over_ranks(size, lambda group: measured({COMPACT: FakeExtractor(5)}, group)):
        assert (found.n, found.digest) == (75, expected.digest)
        np.testing.assert_array_equal(rows_of(found, COMPACT), rows_of(expected, COMPACT))
        np.testing.assert_array_equal(found.image_digests, expected.image_digests)


def test_too_few_images_iv() -> None:
    with pytest.raises(NotEnoughSamplesError, match="at least 76 fake images; found 75"):
        measured({COMPACT: FakeExtractor(5)}, minimum=76)


def test_a_set_whose_network_fails_takes_no_more_iv() -> None:
    network = FakeExtractor(5)
    network.fails_at = 2
    made = SetAccumulator({COMPACT: network}, {(COMPACT, "features"): BOTH})  # type: ignore[dict-item]

    def add() -> None:
        accumulate(made, "fake", open_images(PIXELS), InputOptions(), runtime(), call="x")

    with pytest.raises(RuntimeError, match="the network failed"):
        add()
    network.fails_at = None
    for call in (add, made.to_arrays):
        with pytest.raises(InputError, match="failed half-way"):
            call()


def test_several_sources_are_one_set() -> None:
    """As the updates of a training loop are."""
    network = FakeExtractor(5)
    made = SetAccumulator({COMPACT: network}, {(COMPACT, "features"): BOTH})  # type: ignore[dict-item]
    for part in (PIXELS[:30], PIXELS[30:]):
        accumulate(made, "fake", open_images(part), InputOptions(), runtime(), call="x")
    whole = measured({COMPACT: FakeExtractor(5)})
    found = made.finish("fake")
    np.testing.assert_array_equal(rows_of(found, COMPACT), rows_of(whole, COMPACT))
    assert found.digest == whole.digest
    assert [block[0] for block in made.log.blocks] == [0, 1]


def test_progress_counts_every_image_and_is_closed() -> None:
    class Bar:
        def __init__(self, text: str, length: int | None) -> None:
            self.text, self.length, self.done, self.closed = text, length, 0, False
            bars.append(self)

        def update(self, n: int) -> None:
            self.done += n

        def close(self) -> None:
            self.closed = True

    bars: list[Bar] = []
    measured({COMPACT: FakeExtractor(5)}, progress=Bar)
    network = FakeExtractor(5)
    network.fails_at = 1
    with pytest.raises(RuntimeError):
        measured({COMPACT: network}, progress=Bar)
    assert [(bar.length, bar.done, bar.closed) for bar in bars] == [(75, 75, True), (75, 8, True)]
    assert bars[0].text.startswith("fake: ")


def test_who_receives_rows_gets_those_of_the_layer() -> None:
    network, received = FakeExtractor(5), []
    layer = LayerAccumulator(Moments(5), FeatureRows(5))
    images = torch.from_numpy(PIXELS.transpose(0, 3, 1, 2).copy())
    batches = [ImageBatch(images[i : i + 9], [""] * len(images[i : i + 9]), None) for i in range(0, 75, 9)]
    run(batches, [(network, {"tap": layer})], receivers=lambda *_: received.append)  # type: ignore[list-item, arg-type]
    assert layer.rows is not None
    np.testing.assert_array_equal(np.concatenate(received), layer.rows.to_array())
    np.testing.assert_array_equal(layer.rows.to_array(), network.features(PIXELS))


def test_without_networks_images_are_counted() -> None:
    made = SetAccumulator({}, {})
    run(open_images(PIXELS).batches(10), [], made)
    assert made.n == 75
    assert len(made.image_digests) == 75


def test_batches_suit_every_network() -> None:
    small, large = FakeExtractor(5, batch_size=4), FakeExtractor(5, batch_size=32)
    assert batching([small, large], None) == (4, None)  # type: ignore[list-item]
    assert batching([small, large], 100) == (100, None)  # type: ignore[list-item]
    assert batching([], None)[0] > 0

    def resize(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image).float()

    small.prepare = resize  # type: ignore[assignment]
    assert batching([small], None) == (4, resize)  # type: ignore[list-item]
    assert batching([small, large], None) == (4, None)  # type: ignore[list-item]
    large.prepare = resize  # type: ignore[assignment]
    assert batching([small, large], None) == (4, resize)  # type: ignore[list-item]


@pytest.mark.parametrize("rank", [0, 1])
def test_only_the_first_rank_tells_of_the_cache(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Quiet(Group):
        def agree(self, call: str) -> None:
            pass

    monkeypatch.setattr("ganeval.engine.runtime.joined", lambda **_: nullcontext(Quiet(rank, 2)))
    caplog.set_level("INFO", "ganeval")
    with started(NetworkOptions(protocol="compact", device="cpu", cache=tmp_path), "x") as made:
        assert made.cache is not None
        made.cache.failed(OSError("no room"))
    assert ("no room" in caplog.text) == (rank == 0)
