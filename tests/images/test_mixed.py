"""Images of several sizes: one tensor of all of them, resized together, in few operations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from ganeval.engine.prefetch import prefetched
from ganeval.features.extractor import FeatureExtractor
from ganeval.images import bilinear
from ganeval.images.loading import Regrouper
from ganeval.images.mixed import MixedImages, join_images
from ganeval.images.open import open_images
from ganeval.images.resize import PIL_MODES, RESIZE_MODES, resize, resize_mixed, resize_together
from ganeval.images.transfer import to_device
from ganeval.images.types import ImageBatch, SourceReport
from ganeval.protocol import get_protocol

CPU, META = torch.device("cpu"), torch.device("meta")
SIZES = [(32, 32), (20, 37), (100, 80), (1, 1), (20, 37), (2, 401), (32, 32), (299, 299), (400, 31), (31, 400)]


def noise(sizes: list[tuple[int, int]], seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]


def test_a_mixed_batch_is_a_sequence_of_its_images() -> None:
    images = noise(SIZES)
    mixed = MixedImages.of(images)
    assert mixed.data.ndim == 1
    assert len(mixed) == len(images)
    assert MixedImages.of(mixed) is mixed
    for found in (list(mixed), [mixed[i] for i in range(len(images))], list(mixed[:4]) + list(mixed[4:])):
        assert all(torch.equal(one, other) for one, other in zip(found, images, strict=True))
    assert torch.equal(mixed[-1], images[-1])
    assert len(mixed[5:2]) == 0
    with pytest.raises(IndexError):
        mixed[len(images)]
    assert mixed[1].data_ptr() == mixed.data[3 * 32 * 32 :].data_ptr()  # a view


def test_pieces_are_joined_to_one_tensor_of_whatever_sizes() -> None:
    a, b, c = noise([(4, 4), (4, 4), (5, 6)])
    same, mixed = torch.stack([a, b]), MixedImages.of([a, c])
    assert join_images([same]) is same
    whole = join_images([same, same[:1]])
    assert isinstance(whole, torch.Tensor)
    assert torch.equal(whole, torch.stack([a, b, a]))
    of_one_size = join_images([mixed[:1], same[1:]])
    assert isinstance(of_one_size, torch.Tensor)
    assert torch.equal(of_one_size, same)
    several = join_images([same, mixed])
    assert isinstance(several, MixedImages)
    assert all(torch.equal(one, other) for one, other in zip(several, [a, b, a, c], strict=True))
    apart = join_images([same, same.to(META)])
    assert [image.device.type for image in apart] == ["cpu", "cpu", "meta", "meta"]


@pytest.mark.parametrize("chunk", [1, 3, 5, 20])
@pytest.mark.parametrize("batch", [2, 4, 20])
def test_regrouped_images_keep_their_order(chunk: int, batch: int) -> None:
    images = noise([(8, 8)] * 6 + [(8, 8 + i % 3) for i in range(11)])
    regrouper, found = Regrouper(batch, SourceReport()), []
    for start in range(0, len(images), chunk):
        part = join_images([image[None] for image in images[start : start + chunk]])
        names = [str(i) for i in range(start, start + len(part))]
        found += list(regrouper.add(part, names, np.arange(start, start + len(part), dtype=np.uint64)))
    found += list(regrouper.rest())
    assert [len(one.names) for one in found[:-1]] == [batch] * (len(found) - 1)
    assert [name for one in found for name in one.names] == [str(i) for i in range(len(images))]
    assert [int(d) for one in found for d in one.digests] == list(range(len(images)))  # type: ignore[union-attr]
    for one, other in zip((image for batch in found for image in batch.images), images, strict=True):
        assert torch.equal(one, other)
    for one in found:
        assert isinstance(one.images, torch.Tensor) == (len({image.shape for image in one.images}) == 1)


@pytest.mark.parametrize("size", [299, 32, 7])
def test_tf1_bilinear_of_many_sizes_equals_that_of_each_to_the_bit(size: int) -> None:
    images = noise(SIZES)
    each = torch.cat([resize(image[None].float(), size, "tf1-bilinear") for image in images])
    assert torch.equal(resize_together(MixedImages.of(images), size, "tf1-bilinear"), each)
    assert torch.equal(resize_mixed(images, size, "tf1-bilinear", CPU), each)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_images_resized_together_on_a_gpu(mode: str) -> None:
    images, device = noise(SIZES), torch.device("cuda", 0)
    expected = resize_mixed(images, 299, mode, CPU)
    there = CPU if mode in PIL_MODES else device
    found = resize_mixed(images, 299, mode, there)
    assert found.device == there
    assert torch.allclose(found.cpu(), expected, atol=0 if mode == "tf1-bilinear" else 1e-3)


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_images_resized_together_against_each_by_itself(mode: str) -> None:
    images = noise([(20, 37), (64, 64), (20, 37), (33, 64), (64, 64)])
    each = torch.cat([resize(image[None].float(), 32, mode) for image in images])
    assert torch.equal(resize_mixed(images, 32, mode, CPU), each)
    together = resize_together(MixedImages.of(images), 32, mode)
    assert torch.allclose(together, each, atol=1e-4)
    apart = MixedImages.of(images[1:4])  # three sizes
    assert torch.allclose(resize_together(apart, 32, mode), each[1:4], atol=1e-4)


def test_tables_are_made_once_a_length_and_sent_as_one_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[torch.Tensor] = []
    monkeypatch.setattr(bilinear, "to_device", lambda tensor, device: sent.append(tensor) or to_device(tensor, device))
    bilinear._axis.cache_clear()
    for _ in range(2):
        for length in range(300, 520):  # more than any limit that such tables had
            bilinear._axis(length, 299, CPU)
    assert len(sent) == 220


class Counted(TorchDispatchMode):
    """Counts what the host calls, and copies to the device that it would wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.waits = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        self.calls += 1
        if func is torch.ops.aten._to_copy.default and torch.device(kwargs.get("device") or CPU) == META:
            self.waits += args[0].device == CPU and not kwargs.get("non_blocking")
        return func(*args, **kwargs)


def folder_of(folder: Path, sizes: list[tuple[int, int]]) -> Path:
    folder.mkdir()
    for i, image in enumerate(noise(sizes)):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{i:03}.bmp")
    return folder


@pytest.mark.parametrize("protocol", ["ttur", "pytorch-fid"])
def test_mixed_sizes_cost_the_host_no_more_than_equal_ones(
    protocol: str, tmp_path: Path, surrogate_weights: Path
) -> None:
    """``meta`` is the accelerator: it runs the accelerator's code, and computes nothing."""
    extractor = FeatureExtractor(get_protocol(protocol), device=META, weights=surrogate_weights)
    random, n = np.random.default_rng(0), 128
    extractor(ImageBatch(noise([(40, 40)]), ["first"], None))  # the weights cross with the first batch
    mixed = list(zip(*random.integers(30, 52, (2, n)).tolist(), strict=True))
    found = {}
    for name, sizes in (("equal", [(40, 40)] * n), ("mixed", mixed)):
        source, counted = open_images(folder_of(tmp_path / name, sizes)), Counted()
        with counted, torch.no_grad():
            for batch in prefetched(source.batches(n), META):
                assert extractor(batch)["2048"].shape == (n, 2048)
        found[name] = counted
    assert [one.waits for one in found.values()] == [0, 0]
    assert found["mixed"].calls <= 1.2 * found["equal"].calls <= 300
