"""Modules behind a cache, in other threads and without a call of their own; results that are buffers of a module."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from multiprocessing.pool import ThreadPool
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import ganeval
from ganeval.engine.set_warnings import generator_notes
from ganeval.images.open import open_images

OPTIONS: dict[str, Any] = {"latent_dim": 6, "value_range": (0, 1)}


class Drops(nn.Module):
    """Its own forward pass looks at its mode, between two modules that it calls."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.linear, self.norm = nn.Linear(6, 48), nn.BatchNorm2d(3)
            self.weight = nn.Parameter(torch.randn(6, 48))
        self.norm.running_var.mul_(4)  # type: ignore[union-attr,operator]

    def forward(self, z: Tensor) -> Tensor:
        x = self.norm(self.linear(z).view(-1, 3, 4, 4))
        return torch.sigmoid(nn.functional.dropout(x, 0.5, self.training))

    def alone(self, z: Tensor) -> Tensor:
        """Calls no module."""
        x = nn.functional.dropout(nn.functional.linear(z, self.weight.T), 0.5, self.training)
        return torch.sigmoid(x).view(-1, 3, 4, 4)


@lru_cache
def net() -> Drops:
    return Drops()


@lru_cache
def pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(2)


@lru_cache
def other_pool() -> ThreadPool:
    return ThreadPool(1)


def by_new_thread(z: Tensor) -> Tensor:
    made: list[Tensor] = []
    thread = threading.Thread(target=lambda: made.append(net()(z)))
    thread.start()
    thread.join()
    return made[0]


def by_queues(z: Tensor) -> Tensor:
    asked, answered = worker()
    asked.put(z)
    return answered.get(timeout=60)  # type: ignore[no-any-return]


@lru_cache
def worker() -> tuple[queue.Queue[Any], queue.Queue[Any]]:
    asked: queue.Queue[Any] = queue.Queue()
    answered: queue.Queue[Any] = queue.Queue()

    def work() -> None:
        while (z := asked.get()) is not None:
            answered.put(net()(z))

    threading.Thread(target=work, daemon=True).start()
    return asked, answered


ROUTES: dict[str, Callable[[Tensor], Any]] = {
    "called": lambda z: net()(z),
    "forward": lambda z: net().forward(z),
    "a function of it": lambda z: torch.func.functional_call(net(), dict(net().state_dict()), (z,)),
    "executor": lambda z: pool().submit(net(), z).result(),
    "executor, forward": lambda z: pool().submit(net().forward, z).result(),
    "executor, map": lambda z: torch.cat(list(pool().map(net(), z.split(1)))),
    "thread pool": lambda z: other_pool().apply(net(), (z,)),
    "a new thread": by_new_thread,
    "a thread that waits for work": by_queues,
}


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    yield
    if worker.cache_info().currsize:
        worker()[0].put(None)
    if pool.cache_info().currsize:
        pool().shutdown()
    if other_pool.cache_info().currsize:
        other_pool().terminate()
    for cached in (net, pool, other_pool, worker):
        cached.cache_clear()


def drawn(model: Any, batch: int = 4, **options: Any) -> tuple[Tensor, list[str]]:
    source = open_images(model, num_samples=12, **{**OPTIONS, **options})
    made = torch.cat([batch.images for batch in source.batches(batch)])  # type: ignore[arg-type]
    return made, generator_notes({"fake": source.describe()})


def state(module: nn.Module) -> list[Any]:
    return [[part.training for part in module.modules()], [buffer.tolist() for buffer in module.buffers()]]


@pytest.mark.parametrize("route", ROUTES)
def test_behind_a_cache_and_in_other_threads(route: str) -> None:
    model = ROUTES[route]
    model(torch.zeros(2, 6))  # so that its threads wait
    net.cache_clear()
    before = state(net())
    made, notes = drawn(model)
    assert torch.equal(made, drawn(Drops().eval())[0])
    assert state(net()) == before
    assert [note for note in notes if note.startswith("fake: Drops was in training mode")]
    kept, _ = drawn(model, keep_mode=True)
    assert not torch.equal(kept, made)
    assert state(net()) == before


@pytest.mark.parametrize("submit", [lambda z: net().alone(z), lambda z: [net().alone][0](z)])
def test_a_method_that_calls_no_module(submit: Callable[[Tensor], Tensor]) -> None:
    made, notes = drawn(submit)
    expected = torch.cat([open_images(Drops().eval().alone, num_samples=12, **OPTIONS).batches(12).__next__().images])  # type: ignore[arg-type]
    assert torch.equal(made, expected)
    assert [note for note in notes if note.startswith("fake: Drops was in training mode")]
    assert net().training


def test_a_thread_at_work_keeps_its_mode_and_is_told() -> None:
    """As a training loop beside the evaluation."""
    other, begin, done = nn.Dropout(), threading.Event(), threading.Event()
    modes: list[bool] = []

    def train() -> None:
        while not done.is_set():
            if begin.is_set():
                begin.clear()
                other(torch.ones(2))
                modes.append(other.training)
                asked.set()

    def make(z: Tensor) -> Tensor:
        asked.clear()
        begin.set()
        asked.wait(60)
        return net()(z)

    asked = threading.Event()
    thread = threading.Thread(target=train)
    thread.start()
    try:
        _, notes = drawn(make)
    finally:
        done.set()
        thread.join()
    assert modes
    assert all(modes)
    assert [note for note in notes if note.startswith("fake: Dropout ran in training mode in a thread")]


class Keeps(nn.Module):
    """Returns what it keeps: all of a buffer, or a part."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.linear = Drops().linear
        self.register_buffer("last", torch.zeros(4, 3, 4, 4, dtype=dtype))

    def forward(self, z: Tensor) -> Tensor:
        made = torch.sigmoid(4 * self.linear(z)).view(-1, 3, 4, 4)
        self.last.copy_(made if self.last.is_floating_point() else (255 * made).round())  # type: ignore[operator,union-attr]
        return self.last  # type: ignore[return-value]


KEPT: dict[str, Callable[[Any], Any]] = {
    "the buffer": lambda made: made,
    "a view": lambda made: made.flatten().view(4, 3, 4, 4),
    "a dictionary": lambda made: {"images": made},
    "an array of it": lambda made: made.numpy().transpose(0, 2, 3, 1),
    "a list": lambda made: list(made),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("keep_mode", [False, True])
def test_results_that_are_buffers(kept: str, dtype: torch.dtype, keep_mode: bool) -> None:
    model = Keeps(dtype).eval()
    before = state(model)
    made, _ = drawn(lambda z: KEPT[kept](model(z)), keep_mode=keep_mode)
    expected, _ = drawn(lambda z: KEPT[kept](model(z).clone()))
    assert torch.equal(made, expected)
    assert len({image.sum().item() for image in made}) == 12
    assert state(model) == before


def test_memory_that_the_next_call_writes_to() -> None:
    """Eight-bit images are used as they are, and some may wait for those of the next call."""
    memory = torch.zeros(5, 3, 4, 4, dtype=torch.uint8)

    def make(z: Tensor) -> Tensor:
        return memory[: len(z)].copy_((z.mean(1) * 100 + 128).clamp(0, 255).view(-1, 1, 1, 1))

    source = open_images(make, num_samples=12, **OPTIONS)
    batches = [batch.images for batch in source.batches(5)]
    assert torch.equal(torch.cat(batches), drawn(lambda z: make(z).clone(), 5)[0])  # type: ignore[arg-type]


def test_latents_and_paths_that_are_buffers() -> None:
    class Own(Keeps):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("latent", torch.zeros(2, 6))

        def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
            self.latent[:n] = torch.randn(n, 6, generator=generator)  # type: ignore[operator,index]
            return self.latent[:n]  # type: ignore[return-value,index]

        def forward(self, z: Tensor) -> Tensor:
            if len(self.last) != len(z):  # type: ignore[arg-type]
                self.last = torch.zeros(len(z), 3, 4, 4)
            return super().forward(z)

    made, _ = drawn(Own().eval(), latent_dim=None)
    assert len({image.sum().item() for image in made}) == 12
    options: dict[str, Any] = {
        "pairs": 6,
        "batch_size": 6,
        "distance": "compact",
        "device": "cpu",
        "epsilon": 1e-2,
        **OPTIONS,
    }
    model = Own().eval()
    found = ganeval.path_length(model, **options).value
    assert found == ganeval.path_length(lambda z: model(z).clone(), **options).value > 0
