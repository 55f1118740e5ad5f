"""The arithmetic in which somebody's model runs: repeating bit by bit where that is asked for, and put back after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.precisions import HERE, PLACES, kept, precisions
from torch import Tensor

from ganeval.images.user_models import UserModel

backends: Any = torch.backends
newer_names = pytest.mark.skipif(not HERE, reason="this PyTorch has no fp32_precision")


def settings() -> list[Any]:
    """All that a program may set, by names that can always be read."""
    cudnn = [backends.cudnn.enabled, backends.cudnn.benchmark, backends.cudnn.deterministic]
    return [*cudnn, torch.are_deterministic_algorithms_enabled(), *precisions()]


def everywhere(precision: str) -> None:
    backends.fp32_precision = precision


def of_convolutions(precision: str) -> None:
    backends.cudnn.conv.fp32_precision = precision


def of_products(precision: str) -> None:
    backends.cuda.matmul.fp32_precision = precision


@pytest.fixture
def put_back() -> Iterator[None]:
    with kept():
        yield


def made(seen: list[Any]) -> Tensor:
    def generator(z: Tensor) -> Tensor:
        seen.append(settings())
        return z.sigmoid().view(-1, 3, 8, 8)

    model = UserModel("generator", generator, (0, 1), torch.device("cpu"), exact=True)
    images, _, _ = model.begin(torch.linspace(-3, 3, 2 * 192).view(2, 192), seed=0, what="latents", names=["a", "b"])
    return images


@newer_names
@pytest.mark.parametrize("precision", ["tf32", "ieee"])
@pytest.mark.parametrize("program", [everywhere, of_convolutions, of_products], ids=lambda f: f.__name__)
@pytest.mark.usefixtures("put_back")
def test_exact_in_a_program_that_uses_the_newer_names(program: Callable[[str], None], precision: str) -> None:
    """PyTorch raises where its older names are asked after one of the newer ones was set."""
    expected = made([])
    program(precision)
    before, seen = settings(), list[Any]()
    assert torch.equal(made(seen), expected)
    assert seen == [[True, False, True, False, *["ieee"] * len(PLACES)]]
    assert settings() == before


@newer_names
def test_exact_in_a_program_that_times_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"enabled": False, "benchmark": True, "deterministic": False}.items():
        monkeypatch.setattr(backends.cudnn, name, value)
    before, seen = settings(), list[Any]()
    made(seen)
    assert seen[0][:3] == [True, False, True]
    assert settings() == before
