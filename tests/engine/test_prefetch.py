"""Batches on their way to an accelerator."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from ganeval.engine.prefetch import prefetched
from ganeval.images.types import ImageBatch

CPU = torch.device("cpu")


def batches(drawn: list[int]) -> Iterator[ImageBatch]:
    for i in range(5):
        drawn.append(i)
        yield ImageBatch(
            torch.full((2, 3, 4, 4), i, dtype=torch.uint8), [f"{i}a", f"{i}b"], np.array([i, i], np.uint64)
        )


def test_each_batch_is_handed_over_before_the_next_is_drawn() -> None:
    drawn: list[int] = []
    for i, batch in enumerate(prefetched(batches(drawn), CPU)):
        assert batch.names == [f"{i}a", f"{i}b"]
        assert isinstance(batch.images, torch.Tensor)
        assert int(batch.images.unique()) == i
        assert drawn == list(range(i + 1))
    assert drawn == [0, 1, 2, 3, 4]
    assert list(prefetched([], CPU)) == []


@pytest.mark.gpu
def test_what_crosses_is_what_was_sent() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    device = torch.device("cuda", 0)
    generator = torch.Generator().manual_seed(0)
    sent = [
        ImageBatch(torch.randint(0, 256, (64, 3, 256, 256), generator=generator, dtype=torch.uint8), ["x"] * 64, None)
        for _ in range(6)
    ]
    mixed = ImageBatch([torch.ones(3, n, n, dtype=torch.uint8) for n in (4, 9)], ["a", "b"], None)
    for before, after in zip([*sent, mixed], prefetched([*sent, mixed], device), strict=True):
        torch.cuda._sleep(10_000_000)
        for one, other in zip(before.images, after.images, strict=True):
            assert other.device == device
            assert torch.equal(one, other.cpu())
    (left,) = prefetched([mixed], device, prepared_only=True)
    assert left.images[0].device.type == "cpu"
