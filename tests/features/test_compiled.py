"""``--compile``: the compiled program is what runs, and gives the same features."""

from __future__ import annotations

import functools
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganeval.api import build_statistics, evaluate
from ganeval.arithmetic import inference
from ganeval.errors import ConfigError
from ganeval.features import compiled
from ganeval.features.compiled import Compiled, require_compiler
from ganeval.features.extractor import FeatureExtractor
from ganeval.protocol import get_protocol

CPU = torch.device("cpu")


class Counting:
    """A backend of torch.compile that counts how often its graph runs."""

    def __init__(self) -> None:
        self.graphs, self.runs = 0, 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        self.graphs += 1

        def run(*arguments: Any) -> Any:
            self.runs += 1
            return graph(*arguments)

        return run


@pytest.fixture(autouse=True)
def _fresh() -> None:
    torch._dynamo.reset()


def noise(n: int) -> torch.Tensor:
    return torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(n)) * 2 - 1


def test_the_graph_runs_for_every_whole_batch_and_for_no_other(caplog: pytest.LogCaptureFixture) -> None:
    network = FeatureExtractor(get_protocol("compact"), device=CPU)._network
    backend = Counting()
    one = Compiled(network, CPU, backend=backend)
    with inference("float32", CPU), caplog.at_level(logging.INFO, "ganeval"):
        for n, runs in ((4, 1), (4, 2), (3, 2), (4, 3)):
            x = noise(n)
            assert torch.allclose(one(x, ("256",))["256"], network(x, ("256",))["256"], atol=1e-5)
            assert backend.runs == one.calls == runs
    assert backend.graphs == 1
    assert [record.message.split()[0] for record in caplog.records] == ["compiling", "compiled"]


def test_without_a_compiler_iv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    images = np.zeros((4, 8, 8, 3), np.uint8)
    with pytest.raises(ConfigError, match="needs a C\\+\\+ compiler; no-such-compiler is not installed"):
        evaluate(images, images, protocol="compact", device="cpu", compile=True)
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="needs Triton"):
        require_compiler(torch.device("cuda"))
    with pytest.raises(ConfigError, match="not supported on mps"):
        require_compiler(torch.device("mps"))


def test_a_network_that_cannot_be_compiled_iv() -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: torch.Tensor, taps: tuple[str, ...]) -> dict[str, torch.Tensor]:
            torch._dynamo.graph_break()
            return {"1": x.flatten(1)}

    def broken(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        raise RuntimeError("no space left")

    plain = FeatureExtractor(get_protocol("compact"), device=CPU)._network
    for network, backend in ((Odd(), Counting()), (plain, broken)):
        one = Compiled(network, CPU, backend=backend)
        with inference("float32", CPU), pytest.raises(ConfigError, match="could not be compiled: .*Leave --compile"):
            one(noise(2), ("256",))


def test_where_no_network_runs_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Counting()
    monkeypatch.setattr("ganeval.features.extractor.Compiled", functools.partial(Compiled, backend=backend))
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    made = build_statistics(images, protocol="compact", device="cpu")
    for fake, runs in ((made, 0), (images, 1)):
        told = evaluate(made, fake, protocol="compact", device="cpu", compile=True).notes
        assert bool([note for note in told if "--compile (compile=True) has no effect" in note]) == (runs == 0)
        assert backend.runs == runs


def test_networks_compiled_in_one_process_do_not_count_as_one() -> None:
    """Dynamo gives up at the ninth program of one code object."""
    backend = Counting()
    for n in range(1, 11):
        network = FeatureExtractor(get_protocol("compact"), device=CPU)._network
        with inference("float32", CPU):
            Compiled(network, CPU, backend=backend)(noise(n), ("256",))
    assert backend.graphs == backend.runs == 10


def test_an_error_of_any_kind_is_told_and_the_next_batch_tries_again_iv(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [True]
    counting = Counting()

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Any:
        if broken.pop():
            raise FileNotFoundError("no such linker")
        return counting(graph, inputs)

    one = Compiled(FeatureExtractor(get_protocol("compact"), device=CPU)._network, CPU, backend=backend)
    with inference("float32", CPU):
        with pytest.raises(ConfigError, match="no such linker"):
            one(noise(2), ("256",))
        assert one.calls == 0
        broken.append(False)
        torch._dynamo.reset()
        one(noise(3), ("256",))
    assert one.calls == counting.runs == 1
    missing = Compiled(torch.nn.Flatten(), CPU, backend="no-such-backend")
    with inference("float32", CPU), pytest.raises(ConfigError, match="could not be compiled"):
        missing(noise(2), ("1",))

    def no_room(*_: Any, **__: Any) -> Any:
        raise OSError("the disk is full")

    monkeypatch.setattr(torch, "compile", no_room)
    with pytest.raises(ConfigError, match="the disk is full"):
        Compiled(torch.nn.Flatten(), CPU, backend=Counting())(noise(2), ("1",))


def test_which_compiler_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(compiled.shutil, "which", asked.append)
    for platform, variable, names in (
        ("win32", "", ["cl", "cl"]),
        ("linux", "", ["g++", "g++"]),
        ("linux", "ccache g++ -m64", ["ccache g++ -m64", "ccache"]),
        ("linux", "g'++", ["g'++", "g'++"]),
    ):
        asked.clear()
        monkeypatch.setattr(compiled.sys, "platform", platform)
        monkeypatch.setenv("CXX", variable)
        with pytest.raises(ConfigError, match="C\\+\\+ compiler"):
            require_compiler(CPU)
        assert asked == names


def test_where_hardly_a_batch_was_compiled_a_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganeval.features.extractor.Compiled", functools.partial(Compiled, backend=Counting()))
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    for first, noted in ((5, True), (40, False)):
        told = evaluate(
            images[:first], images, protocol="compact", device="cpu", compile=True,
            batch_size=10,
        ).notes  # fmt: skip
        assert bool([note for note in told if "--compile (compile=True) had little effect" in note]) == noted


@pytest.mark.nightly
def test_the_run_is_compiled_and_the_value_stays_against_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Compiled] = []

    class Remembered(Compiled):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr("ganeval.features.extractor.Compiled", Remembered)
    generator = np.random.default_rng(0)
    real, fake = (generator.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8) for n in (40, 37))
    settings: dict[str, Any] = {"protocol": "compact", "device": "cpu", "batch_size": 16}
    torch._dynamo.utils.counters.clear()
    quick = evaluate(real, fake, compile=True, **settings)
    assert [(one.calls, (one.seconds or 0) > 0) for one in made] == [
        (4, True)
    ]  # the smaller batches took the other way
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert torch._dynamo.utils.counters["inductor"]
    plain = evaluate(real, fake, **settings)
    assert quick["fid"].value == pytest.approx(plain["fid"].value, rel=1e-5)
    assert quick["fid"].protocol.key() == plain["fid"].protocol.key()
    assert quick.environment["compiled"] is True
    assert plain.environment["compiled"] is False


def test_graphs_of_cuda_belong_to_one_thread_iv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretended: another thread would end in an assertion inside of PyTorch."""
    one = Compiled(FeatureExtractor(get_protocol("compact"), device=CPU)._network, CPU, backend=Counting())
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: None)
    with inference("float32", CPU), ThreadPoolExecutor(1) as other:
        one(noise(2), ("256",))
        one.device = torch.device("cuda")
        one(noise(2), ("256",))
        with pytest.raises(ConfigError, match="--compile.*only in the thread of its first batch.*leave --compile"):
            other.submit(one, noise(2), ("256",)).result()
    assert one.calls == 2
