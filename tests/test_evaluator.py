"""Metrics in a training loop: the numbers of ``evaluate``, and a program that does not notice."""

from __future__ import annotations

import gc
import random
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.ranks import dots, image_sets
from torch import nn

from ganeval import Evaluator, build_statistics, evaluate
from ganeval.errors import ConfigError, IncomparableError, InputError, NotEnoughSamplesError
from ganeval.features.extractor import FeatureExtractor
from ganeval.statistics.reference import save_statistics

ON: dict[str, Any] = {"protocol": "compact", "device": "cpu", "batch_size": 16}
REAL, FAKE = image_sets()


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator(REAL, metrics=("fid", "kid", "precision"), value_range=(-1, 1), **ON)


@pytest.fixture(autouse=True)
def _reset(request: pytest.FixtureRequest) -> None:
    if "evaluator" in request.fixturenames:
        request.getfixturevalue("evaluator").reset()


def values(evaluation: Any) -> dict[str, float]:
    return {name: result.value for name, result in evaluation.results.items()}


# --- the same numbers --------------------------------------------------------------------------------------------


def test_updates_against_evaluate(evaluator: Evaluator) -> None:
    expected = evaluate(REAL, FAKE, metrics=("fid", "kid", "precision"), **ON)
    for part in (FAKE[:64], FAKE[64:65], FAKE[65:]):
        evaluator.update(part)
    assert evaluator.n == len(FAKE)
    found = evaluator.compute()
    assert values(found) == pytest.approx(values(expected), rel=1e-6)  # other batches
    assert found.fake["digest"] == expected.fake["digest"]
    assert found["fid"].comparison_key() == expected["fid"].comparison_key()
    evaluator.reset()
    evaluator.update(FAKE)
    whole = evaluator.compute()
    assert values(whole) == values(expected)  # the same batches: the same bits
    assert whole["fid"].interval == expected["fid"].interval
    assert whole.warnings == expected.warnings
    assert whole.notes == expected.notes
    assert values(evaluator.compute()) == values(expected)  # computing changes nothing
    evaluator.update(FAKE[:5] // 2)
    assert evaluator.compute()["fid"].n_fake == len(FAKE) + 5  # more may follow


def test_layouts_and_ranges(evaluator: Evaluator) -> None:
    evaluator.update(FAKE)
    expected = values(evaluator.compute())
    nchw = torch.from_numpy(FAKE).permute(0, 3, 1, 2)
    floats = nchw.float() / 127.5 - 1
    for images, options in ((nchw, {}), (floats.requires_grad_(), {}), (floats / 2 + 0.5, {"value_range": (0, 1)})):
        evaluator.reset()
        evaluator.update(images, **options)  # type: ignore[arg-type]
        assert values(evaluator.compute()) == expected
    with pytest.raises(InputError, match="value"):
        evaluator.update(floats * 3)


def test_update_from_against_evaluate_and_its_latents(evaluator: Evaluator) -> None:
    model = dots().eval()
    expected = evaluate(REAL, model, num_samples=96, metrics=("fid", "kid", "precision"), **ON)
    evaluator.update_from(model, 96)
    once = evaluator.compute()
    assert values(once) == values(expected)
    assert once.fake["digest"] == expected.fake["digest"]
    evaluator.reset()
    evaluator.update_from(model, 64)
    evaluator.update_from(model, 32)  # goes on with the next latents
    twice = evaluator.compute()
    assert twice.fake["digest"] == expected.fake["digest"]
    assert values(twice) == values(expected)
    evaluator.reset()
    evaluator.update_from(model, 32)
    evaluator.update_from(model, 64)
    assert evaluator.compute().fake["digest"] == expected.fake["digest"]


def test_reference_of_statistics_and_its_mode(tmp_path: Path) -> None:
    path = save_statistics(tmp_path / "real", build_statistics(REAL, **ON))
    with Evaluator(path, **ON) as evaluator:
        evaluator.update(FAKE)
        assert values(evaluator.compute()) == values(evaluate(path, FAKE, **ON))
        assert any("taken as the target itself" in note for note in evaluator.compute().notes)
    with Evaluator(REAL, reference_as="population", **ON) as evaluator:
        evaluator.update(FAKE)
        found = evaluator.compute()
    assert found.notes == evaluate(REAL, FAKE, reference="population", **ON).notes
    with Evaluator(None, metrics=("vendi",), **ON) as evaluator:
        evaluator.update(FAKE)
        assert values(evaluator.compute()) == values(evaluate(None, FAKE, metrics=("vendi",), **ON))


def test_the_reference_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    call = FeatureExtractor.__call__
    monkeypatch.setattr(
        FeatureExtractor, "__call__", lambda self, batch: seen.append(len(batch.names)) or call(self, batch)
    )
    with Evaluator(REAL, **ON) as evaluator:
        assert sum(seen) == len(REAL)
        for _ in range(3):
            evaluator.update(FAKE[:20])
            evaluator.compute()
            evaluator.reset()
    assert sum(seen) == len(REAL) + 60


def test_merge_and_state(tmp_path: Path, evaluator: Evaluator) -> None:
    evaluator.update(FAKE)
    expected = values(evaluator.compute())
    with Evaluator(REAL, metrics=("fid", "kid", "precision"), feature_memory=10_000, **ON) as other:
        evaluator.reset()
        evaluator.update(FAKE[:64])
        other.update(FAKE[64:])
        evaluator.merge(other)
        assert values(evaluator.compute()) == pytest.approx(expected, rel=1e-10)
        assert other.n == len(FAKE) - 64
        state = evaluator.state_dict()
        assert all(isinstance(one, torch.Tensor) for one in state.values())
        torch.save(state, tmp_path / "state.pt")
        other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
        assert values(other.compute()) == values(evaluator.compute())
        other.reset()
        other.update_from(dots().eval(), 40)
        resumed = Evaluator(REAL, metrics=("fid", "kid", "precision"), **ON)
        resumed.load_state_dict(other.state_dict())
        for one in (other, resumed):
            one.update_from(dots().eval(), 24)
        assert resumed.compute().fake["digest"] == other.compute().fake["digest"]
        resumed.close()


def test_merge_and_state_iv(evaluator: Evaluator) -> None:
    with Evaluator(FAKE, metrics=("fid", "kid", "precision"), **ON) as other:
        with pytest.raises(IncomparableError, match="the other Evaluator is of another reference"):
            evaluator.merge(other)
        with pytest.raises(IncomparableError, match="the state is of another reference"):
            evaluator.load_state_dict(other.state_dict())
    with Evaluator(REAL, **ON) as other, pytest.raises(IncomparableError, match="of another metrics"):
        evaluator.merge(other)
    for state in ({}, {"evaluator": torch.zeros(3, dtype=torch.uint8)}):
        with pytest.raises(InputError, match="no state of an Evaluator"):
            evaluator.load_state_dict(state)
    state = evaluator.state_dict()
    del state["0.rows"]
    with pytest.raises(InputError, match="not a state of an Evaluator of these metrics"):
        evaluator.load_state_dict(state)
    assert evaluator.n == 0


def test_iv(evaluator: Evaluator) -> None:
    with pytest.raises(InputError, match="No such file"):
        Evaluator("nowhere", **ON)  # said before the first epoch
    with pytest.raises(ConfigError, match="Did you mean trace"):
        Evaluator(REAL, trase="svd", **ON)
    with pytest.raises(NotEnoughSamplesError, match="at least 4 fake images; found 0"):
        evaluator.compute()
    with pytest.raises(ConfigError, match="must be at least 1; got 0"):
        evaluator.update_from(dots(), 0)
    with pytest.raises(InputError, match="holds statistics"):
        evaluator.update(build_statistics(REAL, **ON))
    spoilt = torch.zeros(4, 3, 12, 12)
    spoilt[3, 0, 0, 0] = torch.nan
    with pytest.raises(InputError):
        evaluator.update([torch.zeros(1, 3, 12, 12), spoilt])
    with pytest.raises(InputError, match="failed half-way"):
        evaluator.compute()
    evaluator.reset()
    evaluator.update(FAKE[:8])
    evaluator.compute()


# --- names -------------------------------------------------------------------------------------------------------


def test_log_and_names_that_carry_the_number() -> None:
    logged: list[tuple[int, dict[str, float]]] = []
    log = lambda flat, step: logged.append((step, flat))  # noqa: E731
    with Evaluator(REAL, metrics=("fid", "kid"), log=log, **ON) as evaluator:
        evaluator.update(FAKE[:40])
        first = evaluator.compute()
        evaluator.update(np.tile(FAKE, (8, 1, 1, 1))[:960])
        second = evaluator.compute(50)
    assert [step for step, _ in logged] == [1, 50]
    assert logged[0][1] == first.flat()
    assert logged[0][1]["FD-compact-v1-40"] == first["fid"].value
    assert set(logged[1][1]) == {  # KID has no interval: most of these images are copies
        "FD-compact-v1-1k", "FD-compact-v1-1k/low", "FD-compact-v1-1k/high", "KID-compact-v1-1k",
    }  # fmt: skip
    with pytest.raises(IncomparableError, match="n_fake: 40 against 1000"):
        first["fid"].require_comparable(second["fid"])
    assert first["fid"].comparison_key() != second["fid"].comparison_key()


# --- nothing is disturbed ----------------------------------------------------------------------------------------


def train(evaluator: Evaluator | None) -> tuple[list[float], nn.Module]:
    """A loop with dropout, batch norm, numpy's and Python's random numbers."""
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    generator = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 3 * 64))
    generator[1].eval()  # left so on purpose
    model = nn.Sequential(generator, nn.Unflatten(1, (3, 8, 8)), nn.Tanh())
    model[0][0].bias.requires_grad_(False)
    optimiser = torch.optim.Adam(generator.parameters(), 0.01)
    losses = []
    for _ in range(4):
        loss = (model(torch.randn(8, 4)) - np.random.rand() - random.random()).square().mean()  # noqa: NPY002
        optimiser.zero_grad()
        loss.backward()
        losses.append(loss.item())
        gradients = [p.grad for p in model.parameters()]
        modes = [m.training for m in model.modules()]
        if evaluator is not None:
            evaluator.reset()
            evaluator.update_from(lambda z: model(z), 40)
            evaluator.update(np.zeros((8, 8, 8, 3), np.uint8))
            evaluator.compute()
        assert all(p.grad is g for p, g in zip(model.parameters(), gradients, strict=True))
        assert [m.training for m in model.modules()] == modes
        assert [p.requires_grad for p in model.parameters()][:3] == [True, False, True]
        optimiser.step()
    return losses, model


def test_losses_are_bit_identical_to_a_run_without_it() -> None:
    alone, expected = train(None)
    with Evaluator(REAL, metrics=("fid", "kid"), latent_dim=4, value_range=(-1, 1), **ON) as evaluator:
        watched, model = train(evaluator)
    assert watched == alone
    for a, b in zip(model.state_dict().values(), expected.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_making_one_draws_no_random_numbers() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    with Evaluator(REAL, metrics=("fid", "ind"), **ON) as evaluator:
        evaluator.update(FAKE)
        evaluator.compute()
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002
    assert before[2] == random.getstate()


def test_it_is_no_module_and_close_lets_go() -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.evaluator = Evaluator(REAL, **ON)

    module = Module()
    assert len(list(module.parameters())) == 2
    assert set(module.state_dict()) == {"layer.weight", "layer.bias"}
    evaluator = module.evaluator
    evaluator.update(FAKE)
    evaluation = evaluator.compute()
    (extractor,) = evaluator._session.networks.extractors.values()
    held = [weakref.ref(extractor), weakref.ref(extractor._network), weakref.ref(evaluator._fakes)]
    del extractor
    evaluator.close()
    evaluator.close()
    gc.collect()
    assert [one() for one in held] == [None] * 3
    assert evaluation["fid"].value > 0  # results stay
    for call in (evaluator.compute, evaluator.reset, evaluator.state_dict, lambda: evaluator.update(FAKE)):
        with pytest.raises(ConfigError, match="was closed"):
            call()


def test_the_network_leaves_the_accelerator_between_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    released = []
    monkeypatch.setattr(FeatureExtractor, "release", lambda self: released.append(True))
    for keep, expected in ((False, 4), (True, 0)):
        released.clear()
        with Evaluator(REAL, keep_on_device=keep, **ON) as evaluator:
            evaluator.update(FAKE)
            evaluator.update_from(dots(), 10)
            evaluator.compute()
            assert len(released) == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_no_memory_of_the_accelerator_between_calls() -> None:
    model = dots().cuda()
    with Evaluator(REAL, metrics=("fid", "precision"), **{**ON, "device": "cuda"}) as evaluator:
        evaluator.update_from(model, 100)  # cuBLAS makes its workspace on the first product, and keeps it
        evaluator.compute()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    with Evaluator(REAL, metrics=("fid", "precision"), **{**ON, "device": "cuda"}) as evaluator:
        assert torch.cuda.memory_allocated() == before
        for _ in range(2):
            evaluator.update_from(model, 100)
            assert torch.cuda.memory_allocated() == before
            evaluator.compute()
            assert torch.cuda.memory_allocated() == before
    assert next(model.parameters()).is_cuda
