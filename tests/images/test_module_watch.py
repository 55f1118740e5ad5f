"""The user's modules run in evaluation mode by every route, and are given back as they were."""

from __future__ import annotations

import functools
import random
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm, weight_norm

import ganeval
from ganeval.errors import InputError
from ganeval.evaluator import Evaluator
from ganeval.generators.load import open_source
from ganeval.images.open import open_images

N = 12
OPTIONS: dict[str, Any] = {"latent_dim": 6, "value_range": (0, 1)}
REAL = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
MODULE = types.ModuleType("module_with_a_generator")


class Generator(nn.Module):
    """All that looks at the mode: batch normalisation, dropout, power iterations, and the forward pass itself."""

    latent_dim, value_range = 6, (0, 1)

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                self.first = spectral_norm(nn.Linear(6, 128))
                self.last = weight_norm(nn.ConvTranspose2d(2, 3, 1))
            self.norm, self.drop = nn.BatchNorm2d(2), nn.Dropout(0.5)
            self.register_buffer("average", torch.zeros(1))
        with torch.no_grad():
            self.norm.running_mean.add_(0.3)  # type: ignore[union-attr]
            self.norm.running_var.mul_(4)  # type: ignore[union-attr]

    def forward(self, z: Tensor) -> Tensor:
        if self.training:
            self.average += z.mean()
        return self.sample(z)

    def sample(self, z: Tensor) -> Tensor:
        x = self.drop(torch.relu(self.norm(self.first(z).view(-1, 2, 8, 8))))
        return torch.sigmoid(4 * self.last(nn.functional.dropout(x, 0.5, self.training)))

    def mapping(self, z: Tensor) -> Tensor:
        return self.first(z)  # type: ignore[no-any-return]

    def synthesis(self, w: Tensor) -> Tensor:
        x = self.drop(torch.relu(self.norm(w.view(-1, 2, 8, 8))))
        return torch.sigmoid(4 * self.last(x))


class Slotted:
    __slots__ = ("__weakref__", "inner")

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __call__(self, z: Tensor) -> Tensor:
        return self.inner(z)  # type: ignore[no-any-return]


class Pipeline:
    """As those of diffusers: parts as attributes, images in an object."""

    def __init__(self, generator: nn.Module) -> None:
        self.components = {"decoder": [generator]}

    @property
    def decoder(self) -> Any:
        return self.components["decoder"][0]

    def __call__(self, z: Tensor) -> Any:
        return types.SimpleNamespace(images=self.decoder(z))


def from_globals() -> Callable[..., Any]:
    return eval("lambda z: getattr(mod, 'gen')(z)", {"mod": MODULE, "getattr": getattr})  # type: ignore[no-any-return]


def script(generator: nn.Module) -> Any:
    class Scripted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.drop = generator.norm, generator.drop

        def forward(self, z: Tensor) -> Tensor:
            x = self.drop(self.norm(z[:, :2, None, None].expand(-1, 2, 8, 8)))
            return torch.sigmoid(4 * torch.cat([x, x[:, :1]], 1))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(Scripted()).train(generator.training)


def compiled(function: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.compile(function, backend="eager", fullgraph=True)


nested = types.SimpleNamespace
ROUTES: dict[str, Callable[[Any], Any]] = {
    "itself": lambda g: g,
    "bound method": lambda g: g.forward,
    "method that is not forward": lambda g: g.sample,
    "such a method through a dict": lambda g: {"g": lambda z, d={"g": g}: d["g"].sample(z)}["g"],
    "closure": lambda g: lambda z: g(z),
    "dict": lambda g: functools.partial(lambda d, z: d["g"](z), {"g": g}),
    "default argument": lambda g: lambda z, m=g: m(z),
    "keyword default": lambda g: lambda z, *, m=g: m(z),
    "partial": lambda g: functools.partial(lambda m, z: m(z), g),
    "nested attribute": lambda g: nested(a=nested(b=g)).a.b.__call__,
    "attribute of an attribute": lambda g: functools.partial(lambda a, z: a.b.c(z), nested(b=nested(c=g))),
    "list": lambda g: lambda z, many=[None, g]: many[1](z),
    "slot": Slotted,
    "slots in slots": lambda g: Slotted(Slotted(g)),
    "property of a pipeline": Pipeline,
    "module": lambda g: from_globals(),
    "hidden from every look": lambda g: functools.partial(lambda it, z: next(it)(z), iter(lambda: g, None)),
    "DataParallel": nn.DataParallel,
    "Sequential": lambda g: nn.Sequential(g, nn.Identity()),
    "compiled": compiled,
    "compiled function": lambda g: compiled(lambda z: g(z)),
    "TorchScript": script,
    "TorchScript in a dict": lambda g: functools.partial(lambda d, z: d["s"](z), {"s": script(g)}),
    "a method of TorchScript": lambda g: script(g).forward,
}  # fmt: skip


@pytest.fixture
def generator() -> Iterator[Generator]:
    MODULE.gen = Generator()  # type: ignore[attr-defined]
    sys.modules[MODULE.__name__] = MODULE
    yield MODULE.gen
    del sys.modules[MODULE.__name__]
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()


def state_of(*modules: nn.Module) -> list[Any]:
    parts = [part for module in modules for part in module.modules()]
    tensors = [t for module in modules for t in (*module.buffers(), *module.parameters())]
    return [
        [part.training for part in parts], [id(t) for t in tensors], [t.detach().clone().tolist() for t in tensors],
        [None if t.grad is None else t.grad.tolist() for t in tensors], [t.requires_grad for t in tensors],
    ]  # fmt: skip


def state_of_program() -> list[Any]:
    cudnn, numpys = torch.backends.cudnn, np.random.get_state()  # noqa: NPY002
    return [
        torch.get_rng_state().tolist(), numpys[1].tolist(), numpys[2:], random.getstate(),  # type: ignore[index,union-attr]
        torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(), cudnn.enabled, cudnn.benchmark, cudnn.deterministic,
        torch.get_float32_matmul_precision(),
        torch.are_deterministic_algorithms_enabled(), torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"),
        len(torch.nn.modules.module._global_forward_pre_hooks), torch.get_num_threads(),
        [f for f in warnings.filters if "global hooks" in str(f[1])],
    ]  # fmt: skip


@contextmanager
def unusual_program() -> Iterator[None]:
    """A training program with settings of its own."""
    before = torch.backends.cudnn.benchmark, torch.get_default_dtype(), torch.get_float32_matmul_precision()
    torch.backends.cudnn.benchmark = True
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("high")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            yield
    finally:
        torch.backends.cudnn.benchmark = before[0]
        torch.set_default_dtype(before[1])
        torch.set_float32_matmul_precision(before[2])


def by_evaluate(model: Any, **others: Any) -> float:
    options: dict[str, Any] = {"protocol": "compact", "device": "cpu", "num_samples": N, "batch_size": 5}
    return ganeval.evaluate(REAL, model, metrics=["kid"], **options, **OPTIONS, **others)["kid"].value


def by_evaluator(model: Any) -> float:
    with Evaluator(REAL, metrics=["kid"], protocol="compact", device="cpu", batch_size=5, latent_dim=6) as evaluator:
        evaluator.update_from(model, N - 4, value_range=(0, 1))
        evaluator.update_from(model, 4, value_range=(0, 1))
        return evaluator.compute()["kid"].value


def by_path_length(model: Any) -> float:
    options = {"pairs": 6, "distance": "compact", "device": "cpu", "batch_size": 5, "epsilon": 1e-2, **OPTIONS}
    return ganeval.path_length(model, **options).value


DOORS = {"evaluate": by_evaluate, "Evaluator": by_evaluator, "path_length": by_path_length}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("route", ROUTES)
def test_a_training_program_is_left_as_it_was(route: str, door: str, generator: Generator) -> None:
    measure = DOORS[door]
    expected = measure(ROUTES[route](generator.eval()))
    generator.train()
    generator.drop.eval()  # left so on purpose
    model = ROUTES[route](generator)
    modules = [generator, *([model] if isinstance(model, nn.Module) else [])]
    generator.norm.weight.grad = torch.ones(2)
    with unusual_program():
        before, program = state_of(*modules), state_of_program()
        found = measure(model)
        assert state_of_program() == program
        assert state_of(*modules) == before
    assert found == pytest.approx(expected, rel=1e-6)
    # and that it matters: kept in training mode the same route gives another number (its buffers are restored too)
    if door == "evaluate":
        assert by_evaluate(model, keep_mode=True) != pytest.approx(expected, rel=1e-3)
        assert state_of(*modules) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("route", ["itself", "dict", "slot"])
def test_whatever_ends_the_call(route: str, error: type[BaseException], generator: Generator) -> None:
    calls = 0

    def fails(module: nn.Module, args: Any, output: Tensor) -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            module.training = True  # and leaves a mess behind
            module.running_mean.zero_()  # type: ignore[union-attr,operator]
            raise error("in the middle")

    generator.train().norm.register_forward_hook(fails)
    model, before = ROUTES[route](generator), state_of(generator)
    hooks = len(torch.nn.modules.module._global_forward_pre_hooks)
    with pytest.raises(InputError if error is RuntimeError else error, match="in the middle"):
        by_evaluate(model)
    assert calls > 3
    assert state_of(generator) == before
    assert len(torch.nn.modules.module._global_forward_pre_hooks) == hooks


def drawn(model: Any, **options: Any) -> Tensor:
    source = open_images(model, num_samples=12, **{**OPTIONS, **options})
    return torch.cat([batch.images for batch in source.batches(4)])  # type: ignore[arg-type]


def test_modules_that_appear_later(generator: Generator) -> None:
    """A second branch that the first batches do not take, and modules that are built anew for every batch."""
    other, calls = Generator().train(), 0
    generator.train()
    before = state_of(generator, other)

    def branches(z: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return [generator, other][calls > 3](z)  # type: ignore[no-any-return]

    expected = drawn(Generator().eval())
    assert torch.equal(drawn(branches), expected)
    assert state_of(generator, other) == before
    assert torch.equal(drawn(lambda z: Generator().train()(z)), expected)


def test_the_call_is_made_again_where_something_looked_at_the_mode_first(generator: Generator) -> None:
    hidden = iter(lambda: generator.train(), None)  # in no attribute that could be looked through

    def make(z: Tensor) -> Tensor:
        model = next(hidden) if not seen else seen[0]
        seen.append(model)
        mode = model.training
        return model(z) * (0.5 if mode else 1)  # type: ignore[no-any-return]

    seen: list[Generator] = []
    assert torch.equal(drawn(make), drawn(Generator().eval()))
    assert generator.training


def test_buffers_that_are_replaced_and_caches_that_grow(generator: Generator) -> None:
    class Caching(Generator):
        size = 0

        def forward(self, z: Tensor) -> Tensor:
            if len(z) > self.size:  # as rotary embeddings do
                self.size = len(z)
                self.register_buffer("grid", torch.arange(len(z)))
            self.average = self.average + 1  # a new tensor
            return super().forward(z)

    model = Caching().train()
    average = model.average
    drawn(model)
    assert model.average is average
    assert float(average) == 0
    assert model.size == len(model.grid) == 4  # type: ignore[arg-type]


def test_buffers_of_a_graph_are_not_touched(generator: Generator) -> None:
    """Between forward and backward pass an evaluation in between must not count as a change."""
    scale = nn.Parameter(torch.ones(1))
    generator.eval()
    loss = (scale * generator.norm.running_mean).sum()  # autograd keeps the buffer
    drawn(generator)
    loss.backward()
    assert scale.grad is not None


def test_a_compiled_generator_is_compiled_once(generator: Generator) -> None:
    from torch._dynamo.testing import CompileCounter

    counter = CompileCounter()
    model = torch.compile(lambda z: generator(z), backend=counter, fullgraph=True, dynamic=True)
    generator.train()
    source = open_images(model, num_samples=40, **OPTIONS)
    source.check()
    assert len(list(source.batches(4))) == 10
    assert 1 <= counter.frame_count <= 2


def test_a_place_that_only_running_it_shows() -> None:
    """Latents of the type of weights that no name leads to."""
    half = nn.Linear(6, 12, dtype=torch.float64)
    hidden = iter(lambda: half, None)
    seen: list[nn.Module] = []

    def make(z: Tensor) -> Tensor:
        module = seen[0] if seen else next(hidden)
        seen.append(module)
        return torch.sigmoid(module(z)).view(-1, 3, 2, 2)

    assert len(drawn(make)) == 12


def test_it_is_said_once_and_kept_on_demand(generator: Generator) -> None:
    def notes(**options: Any) -> tuple[list[str], Any]:
        run = ganeval.evaluate(REAL, ROUTES["dict"](generator), protocol="compact", num_samples=N, **OPTIONS, **options)
        assert not [w for w in run.warnings if "mode" in w]
        return [note for note in run.notes if "mode" in note], run.fake

    generator.eval()
    told, fake = notes()
    assert told == []
    assert "set_to_evaluation" not in fake
    generator.train()
    told, fake = notes()
    assert fake["set_to_evaluation"] == ["Generator"]
    assert len(told) == 1
    assert told[0].startswith("fake: Generator was in training mode; its images are made in evaluation mode")
    told, fake = notes(keep_mode=True)
    assert fake["keep_mode"] is True
    assert "set_to_evaluation" not in fake
    assert told == ["fake: the generator ran in the mode that it was in (keep_mode)"]
    with Evaluator(REAL, protocol="compact", value_range=(0, 1)) as evaluator:
        evaluator.update_from(generator, 8)
        evaluator.update_from(generator, 9)
        run = evaluator.compute()
    assert run.fake["set_to_evaluation"] == ["Generator"]
    walked = ganeval.evaluate(None, generator, metrics=("ppl",), pairs=8, distance="compact", epsilon=1e-2)
    assert [note for note in walked.notes if "Generator was in training mode" in note]


def test_a_translation_is_watched_too(generator: Generator) -> None:
    translator = nn.Sequential(nn.BatchNorm2d(3), nn.Sigmoid()).train()
    MODULE.translate = lambda x, held=[translator]: held[0](x)  # type: ignore[attr-defined]
    before = state_of(translator)
    options = {"num_samples": 6, "value_range": (0, 1)}
    source = open_source(f"gen:{MODULE.__name__}:translate(dataset:shapes:16)", **options)
    made = torch.cat([batch.images for batch in source.batches(4)])  # type: ignore[arg-type]
    assert state_of(translator) == before
    assert source.describe()["set_to_evaluation"] == ["Sequential"]
    translator.eval()
    again = open_source(f"gen:{MODULE.__name__}:translate(dataset:shapes:16)", **options)
    assert torch.equal(made, torch.cat([batch.images for batch in again.batches(4)]))  # type: ignore[arg-type]


def test_a_sampler_of_latents_is_watched_too(generator: Generator) -> None:
    class Own(Generator):
        def __init__(self) -> None:
            super().__init__()
            self.held = [nn.Sequential(nn.BatchNorm1d(6), nn.Dropout(0.9))]

        def sample_latents(self, n: int, generator: torch.Generator) -> Tensor:
            return self.held[0](torch.randn(n, 6, generator=generator))  # type: ignore[no-any-return]

    model = Own().train()
    model.held[0].train()
    state, before = torch.get_rng_state(), state_of(model.held[0])
    made = drawn(model, latent_dim=None)
    assert state_of(model.held[0]) == before
    assert torch.equal(torch.get_rng_state(), state)
    model.held[0].eval()
    assert torch.equal(drawn(model.eval(), latent_dim=None), made)
