"""Generators on an accelerator: the host waits for nothing, and no image is passed on before its range was checked."""

from __future__ import annotations

import threading
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ganeval.errors import InputError
from ganeval.images import threads, user_models
from ganeval.images.generated import GeneratedSource
from ganeval.images.options import OpenOptions
from ganeval.images.resize import PIL_MODES, resize, resize_mixed, resize_pil
from ganeval.images.transfer import start_fetch, to_device

RANGE = (-1.0, 1.0)


class Generator(nn.Module):
    latent_dim = 6

    def __init__(self, device: str = "cpu") -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 48, device=device), nn.BatchNorm1d(48, device=device), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        return self.body(z).reshape(-1, 3, 4, 4)


class Waits(TorchDispatchMode):
    """Copies to the accelerator that the host would wait for. A copy back, or a look at a value, FakeTensor refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = self.waited = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        copies = func is torch.ops.aten._to_copy.default
        if copies and args[0].device.type == "cpu" and str(kwargs.get("device")).startswith("cuda"):
            self.sent += 1
            self.waited += not kwargs.get("non_blocking")
        assert not (copies and args[0].device.type == "cuda" and str(kwargs.get("device")) == "cpu")
        return func(*args, **kwargs)


@pytest.mark.parametrize("fixed", [None, 4])
def test_no_part_is_waited_for_before_the_next_is_under_way(fixed: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A FakeTensor is the accelerator: whatever would need a value of it fails."""
    events: list[str] = []
    run, pinned = user_models.UserModel.run, []

    def running(*args: Any, **kwargs: Any) -> Any:
        events.append("run")
        return run(*args, **kwargs)

    def bringing(ends: Tensor) -> Callable[[], Tensor]:
        assert ends.device.type == "cuda"
        return lambda: events.append("wait") or ends  # type: ignore[func-returns-value]

    monkeypatch.setattr(user_models.UserModel, "run", running)
    monkeypatch.setattr(user_models, "start_fetch", bringing)
    # random states lie on the host, where a FakeTensor has no bytes
    monkeypatch.setattr(user_models, "_seeded", lambda *_, **__: nullcontext(lambda: False))
    monkeypatch.setattr(user_models, "range_notes", lambda ends, value_range: Counter())
    monkeypatch.setattr(Tensor, "pin_memory", lambda self: pinned.append(1) or self)
    options = OpenOptions(num_samples=12, value_range=RANGE)
    with FakeTensorMode(allow_non_fake_inputs=True):
        source = GeneratedSource("g", Generator("cuda"), options, fixed_batch=fixed)
        with Waits() as waits:
            for batch in source.batches(4):
                assert isinstance(batch.images, Tensor)
                assert batch.images.device.type == "cuda"
                assert batch.images.shape == (4, 3, 4, 4)
                events.append("batch")
    assert events == ["run", "run", "wait", "batch", "run", "wait", "batch", "wait", "batch"]
    assert (waits.sent, waits.waited, len(pinned)) == (3, 0, 3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("fixed", [None, 4])
def test_cuda_is_not_waited_for_while_images_are_made(fixed: int | None) -> None:
    """CUDA itself raises at whatever makes the host wait for all of its work."""
    options = OpenOptions(num_samples=24, value_range=RANGE)
    source = GeneratedSource("g", Generator("cuda"), options, fixed_batch=fixed)
    expected = [torch.as_tensor(batch.images).cpu() for batch in source.batches(4)]
    with warnings.catch_warnings():  # torch tells once that the mode is a prototype
        warnings.filterwarnings("ignore", message="Synchronization debug mode")
        torch.cuda.set_sync_debug_mode("error")
    try:
        found = list(source.batches(4))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for batch, images in zip(found, expected, strict=True):
        assert torch.equal(torch.as_tensor(batch.images).cpu(), images)


@pytest.mark.parametrize("spoilt", [1, 5, 11])
@pytest.mark.parametrize("value", [3.0, float("nan")])
def test_the_late_check_names_the_same_image_and_passes_on_none_of_its_part(
    spoilt: int, value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host plays the accelerator: one part is ahead of its check."""
    messages = []
    for late in (False, True):
        made = 0

        def generator(z: Tensor) -> Tensor:
            nonlocal made
            images = torch.zeros(len(z), 3, 4, 4)
            if made <= spoilt < made + len(z):
                images[spoilt - made, 1, 2, 2] = value
            made += len(z)
            return images

        source = GeneratedSource("g", generator, OpenOptions(num_samples=12, value_range=RANGE, latent_dim=1))
        if late:
            monkeypatch.setattr(source, "_under_way", lambda images: 1)
        passed = []
        with pytest.raises(InputError) as raised:
            passed.extend(batch.names for batch in source.batches(4))
        messages.append(str(raised.value))
        assert [name for names in passed for name in names] == [f"#{i}" for i in range(spoilt // 4 * 4)]
    assert messages[0] == messages[1]
    assert f"image {spoilt} " in messages[0]


def test_images_latents_and_random_state_are_those_of_no_look_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    torch.manual_seed(3)
    generator, state = Generator(), torch.get_rng_state()
    for late in (0, 1):
        source = GeneratedSource("g", generator, OpenOptions(num_samples=10, value_range=RANGE))
        monkeypatch.setattr(source, "_under_way", lambda images, late=late: late)
        found.append(list(source.batches(4)))
        assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(*found, strict=True):
        assert one.names == other.names
        assert torch.equal(torch.as_tensor(one.images), torch.as_tensor(other.images))
        np.testing.assert_array_equal(one.digests, other.digests)


def test_what_lies_on_the_host_stays_and_is_brought_as_it_is() -> None:
    x = torch.rand(3)
    assert to_device(x, torch.device("cpu")) is x
    assert torch.equal(start_fetch(x)(), x)


def test_images_of_a_generator_are_resized_by_pillow_in_as_many_threads_as_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 3)
    together, names = threading.Barrier(3, timeout=20), set()

    def prepare(pixels: np.ndarray) -> Tensor:
        together.wait()  # breaks unless three are at it
        names.add(threading.current_thread().name)
        return torch.from_numpy(pixels.astype(np.float32))

    plain = list(GeneratedSource("g", Generator().eval(), OpenOptions(num_samples=6, value_range=RANGE)).batches(3))
    source = GeneratedSource("g", Generator().eval(), OpenOptions(num_samples=6, value_range=RANGE))
    assert [batch.names for batch in source.batches(3, prepare=prepare)] == [one.names for one in plain]
    assert len(names) == 3


@pytest.mark.parametrize("mode", sorted(PIL_MODES))
def test_pillow_side_by_side_against_one_by_one(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 3)
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5, 3, 40, 30), generator=random, dtype=torch.uint8)
    each = torch.stack([resize_pil(image.permute(1, 2, 0).numpy(), 32, mode) for image in images])
    assert torch.equal(resize(images.float(), 32, mode), each)
    mixed = [images[0], images[1, :, :33], images[2]]
    found = resize_mixed(mixed, 32, mode, torch.device("cpu"))
    assert torch.equal(found[::2], each[[0, 2]])
    assert torch.equal(found[1], resize_pil(mixed[1].permute(1, 2, 0).numpy(), 32, mode))


def test_the_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(12)), raising=False)
    for ranks, cores in ((None, 12), ("4", 3), ("64", 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks) if ranks else monkeypatch.delenv("LOCAL_WORLD_SIZE", False)
        assert threads.usable_cores() == cores
