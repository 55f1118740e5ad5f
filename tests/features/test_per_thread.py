"""Threads side by side: what each of them has set, and that nothing but time depends on them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import ganeval
import ganeval.features.per_thread as module
from ganeval.features.extractor import FeatureExtractor
from ganeval.features.per_thread import CpuConfig, Features, Images, PerThreadInference
from ganeval.images.types import ImageBatch
from ganeval.protocol import get_protocol


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 33])
@pytest.mark.parametrize("config", [CpuConfig(1, 4), CpuConfig(2, 4), CpuConfig(2, 1), CpuConfig(3, 16)])
def test_slices_are_all_images_in_order_alike_for_every_thread(n: int, config: CpuConfig) -> None:
    parts = config.slices(n)
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    sizes = [len(range(n)[part]) for part in parts]
    assert max(sizes) <= config.batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(parts) % config.threads == 0 or len(parts) == n


@pytest.mark.parametrize("threads", [1, 2, 3, 8, 16, 17, 200])
@pytest.mark.parametrize("batch", [1, 2, 16, 64])
def test_no_more_images_than_a_batch_and_no_more_threads_than_there_are(threads: int, batch: int) -> None:
    config = CpuConfig.of(threads, batch)
    assert 1 <= config.threads <= min(threads, batch, 16)
    assert (config.batch_size - 1) * config.threads < batch <= config.batch_size * config.threads


def test_each_thread_computes_on_one_core_at_the_same_time_and_without_gradients() -> None:
    together = threading.Barrier(2)
    seen: list[tuple[int, bool, bool, int]] = []

    def function(images: Images) -> Features:
        together.wait(timeout=30)  # passes only if two are here at once
        assert isinstance(images, Tensor)
        seen.append(
            (torch.get_num_threads(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), len(images))
        )
        return {"tap": 2.0 * images.flatten(1)}

    inference, images = PerThreadInference(8), torch.arange(24.0).reshape(8, 3, 1, 1)
    with torch.inference_mode(), torch.autocast("cpu"):
        found = [inference(function, images)["tap"] for _ in range(3)]
    assert seen == [(1, True, False, 4)] * 6
    assert all(torch.equal(one, 2.0 * images.flatten(1)) for one in found)
    fresh: list[int] = []
    other = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert fresh == [2]  # a thread that begins to compute afterwards has what the program has set


def test_number_of_threads_may_change_between_calls() -> None:
    seen: list[tuple[str, int]] = []

    def function(images: Images) -> Features:
        seen.append((threading.current_thread().name.rpartition("_")[0], len(images)))
        return {"tap": torch.zeros(len(images), 1)}

    inference, images = PerThreadInference(8), torch.zeros(8, 3, 1, 1)
    inference(function, images)
    torch.set_num_threads(1)
    inference(function, images)
    torch.set_num_threads(4)
    inference(function, images)
    torch.set_num_threads(2)
    assert sorted(seen[:2]) == [("ganeval-cpu", 4)] * 2
    assert seen[2] == ("", 8)  # the thread that asked
    assert seen[3:] == [("ganeval-cpu", 2)] * 4


def test_an_error_in_a_thread_is_that_of_the_call() -> None:
    def function(images: Images) -> Features:
        if float(images[0].max()) > 3:
            raise ValueError("four")
        return {"tap": torch.zeros(len(images), 1)}

    inference = PerThreadInference(8)
    with pytest.raises(ValueError, match="four"):
        inference(function, torch.arange(8.0).reshape(8, 1, 1, 1))
    assert len(inference(function, torch.zeros(8, 1, 1, 1))["tap"]) == 8  # and the next call is none the worse


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupt_while_threads_begin_leaves_the_number_of_threads(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real = threading.active_count(), module.ThreadPoolExecutor.map

    def interrupted(pool: Any, function: Any, items: Any) -> Any:
        real(pool, function, list(items)[:1])  # one thread waits for the other
        raise error

    monkeypatch.setattr(module.ThreadPoolExecutor, "map", interrupted)
    inference = PerThreadInference(8)
    with pytest.raises(error):
        inference(lambda images: {"tap": torch.zeros(len(images), 1)}, torch.zeros(8, 1, 1, 1))
    assert torch.get_num_threads() == 2
    fresh: list[int] = []
    other = threading.Thread(target=lambda: fresh.append(torch.get_num_threads()))
    other.start()
    other.join()
    assert fresh == [2]
    assert threading.active_count() <= before
    monkeypatch.undo()


def images_of(n: int) -> ImageBatch:
    random = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (n, 3, 40, 30), generator=random, dtype=torch.uint8)
    return ImageBatch(images, [str(i) for i in range(n)], None)


def test_features_of_one_thread_and_of_two(surrogate_weights: Path) -> None:
    extractor: FeatureExtractor = FeatureExtractor(
        get_protocol("ttur"), device=torch.device("cpu"), weights=surrogate_weights
    )
    batch = images_of(5)
    two = extractor(batch)["2048"]
    assert threading.active_count() > 1
    torch.set_num_threads(1)
    one = extractor(batch)["2048"]
    torch.set_num_threads(2)
    mixed = extractor(ImageBatch(list(batch.images), batch.names, None))["2048"]
    assert one.shape == (5, 2048)
    assert (one[1:] - one[0]).abs().max() > 0.05 * one.abs().max()
    for other in (two, mixed):
        assert (other - one).abs().max() < 1e-5 * one.abs().max()


def test_fid_of_one_thread_and_of_two(surrogate_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    slices = CpuConfig.slices
    monkeypatch.setattr(CpuConfig, "slices", lambda config, n: used.append(config.threads) or slices(config, n))
    real, fake = (images_of(22).images.numpy()[part] for part in (slice(0, 12), slice(12, 22)))

    def value(threads: int) -> float:
        torch.set_num_threads(threads)
        return ganeval.fid(real, fake // 2, weights=surrogate_weights, device="cpu").value

    one, two = value(1), value(2)
    assert one > 0
    assert two == pytest.approx(one, rel=1e-5)
    assert used == [1, 1, 2, 2]


def test_the_batch_size_is_the_number_of_images_in_the_network(surrogate_weights: Path) -> None:
    seen: list[int] = []
    for given, expected in ((None, [8, 8]), (6, [3, 3, 3, 3])):
        extractor = FeatureExtractor(
            get_protocol("ttur"), device=torch.device("cpu"), weights=surrogate_weights, batch_size=given
        )
        assert extractor.batch_size == (given or 16)
        hook = extractor._network.register_forward_pre_hook(lambda _m, inputs: seen.append(len(inputs[0])))
        seen.clear()
        extractor._network.forward = lambda x, taps: {"2048": x.flatten(1)[:, :4]}  # the network itself is slow
        extractor(images_of(16 if given is None else 12))
        hook.remove()
        assert seen == expected
