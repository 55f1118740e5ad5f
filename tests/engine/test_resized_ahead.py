"""Pillow's resizes for several networks: off the main thread, one batch ahead, once for networks that want the same."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from ganeval.engine import loop
from ganeval.engine.accumulator import LayerAccumulator
from ganeval.engine.loop import batching, run
from ganeval.engine.prefetch import resized
from ganeval.features.extractor import FeatureExtractor
from ganeval.images import resize as resizing
from ganeval.images.open import open_images
from ganeval.images.resize import PillowResize, resize_pil
from ganeval.images.types import ImageBatch
from ganeval.protocol import get_protocol
from ganeval.statistics.rows import FeatureRows

BICUBIC, SQUARE = PillowResize(20, "pil-bicubic-float"), PillowResize(32, "square-pil-bicubic-uint8")


def noise(*sizes: tuple[int, int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]


def test_equal_resizes_are_one_and_travel_to_processes() -> None:
    assert PillowResize(20, "pil-bicubic-float") == BICUBIC == pickle.loads(pickle.dumps(BICUBIC))
    assert len({BICUBIC, PillowResize(20, "pil-bicubic-float"), SQUARE}) == 2


def test_every_batch_has_its_images_in_every_size_and_the_next_is_begun_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn, threads = [], set()

    def watched(*args: object) -> torch.Tensor:
        threads.add(threading.current_thread())
        return resize_pil(*args)  # type: ignore[arg-type]

    def batches() -> Iterator[ImageBatch]:
        for i, images in enumerate((torch.stack(noise((30, 40), (30, 40))), noise((9, 8), (70, 64), (20, 20)))):
            drawn.append(i)
            yield ImageBatch(images, [str(j) for j in range(len(images))], None)

    monkeypatch.setattr(resizing, "resize_pil", watched)
    for i, batch in enumerate(resized(batches(), {BICUBIC, SQUARE})):
        assert drawn == [0, 1]
        assert len(batch.images) == 2 + i
        for resize in (BICUBIC, SQUARE):
            each = [resize_pil(x.permute(1, 2, 0).numpy(), resize.size, resize.mode) for x in batch.images]
            assert torch.equal(batch.resized[resize], torch.stack(each))
    assert threads
    assert threading.main_thread() not in threads


def test_what_was_resized_already_or_is_not_wanted_stays() -> None:
    done = ImageBatch(torch.zeros(2, 3, 20, 20), ["a", "b"], None)
    empty = ImageBatch(torch.empty(0, 3, 0, 0, dtype=torch.uint8), [], None)
    assert [one.resized for one in resized([done, empty], {BICUBIC})] == [{}, {}]
    assert [one.resized for one in resized([ImageBatch(torch.stack(noise((8, 8))), ["a"], None)], ())] == [{}]


def test_a_run_with_two_of_pillows_resizes_takes_them_from_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host plays the accelerator. The rows are those of networks that resize by themselves."""
    images = np.random.default_rng(0).integers(0, 256, (11, 40, 48, 3), dtype=np.uint8)
    compact = get_protocol("compact")
    protocols = [compact, *(replace(compact, resize=mode) for mode in ("pil-bicubic-float", "pil-bicubic-uint8"))]
    networks = [FeatureExtractor(one, device=torch.device("cpu")) for one in protocols]
    size, prepare = batching(networks, 4)
    assert (size, prepare) == (4, None)
    assert batching(networks[1:2], None)[1] == networks[1].prepare == PillowResize(32, "pil-bicubic-float")
    found = []
    for queued in (False, True):
        monkeypatch.setattr(loop, "_is_asynchronous", lambda device, queued=queued: queued)
        kept = [LayerAccumulator(None, FeatureRows(256)) for _ in networks]
        if queued:  # no network may do it then, in the main thread
            monkeypatch.setattr(resizing, "map_in_threads", None)
        batches = open_images(images).batches(size)
        run(batches, [(one, {"256": rows}) for one, rows in zip(networks, kept, strict=True)])
        found.append([rows.rows.to_array().copy() for rows in kept if rows.rows is not None])
    for one, other in zip(*found, strict=True):
        assert one.shape == (11, 256)
        np.testing.assert_array_equal(one, other)
