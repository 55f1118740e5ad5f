"""The judge of a training run: the package's own numbers, against a reference that is measured once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ganeval.errors import IncomparableError, InputError
from ganeval.evaluate import build_statistics, evaluate
from ganeval.protocol import get_protocol
from ganeval.statistics.reference import save_statistics
from ganeval.training import judge as module
from ganeval.training.judge import Judge


def images(n: int, seed: int, channels: int = 3) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, 32, 32), dtype=torch.uint8, generator=random)


def test_against_evaluate(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    monkeypatch.setattr(module, "build_statistics", lambda *a, **k: built.append(1) or build_statistics(*a, **k))
    judge = Judge(None, images(40, 0), device="cpu")
    values = [judge(images(30, 1)), judge(images(30, 2))]
    assert len(built) == 1  # the reference is measured once
    expected = evaluate(images(40, 0), images(30, 1), protocol="compact", device="cpu")["fid"]
    assert values[0]["fd"] == pytest.approx(expected.value, rel=1e-9)
    assert values[0]["fd_n"] == 30
    assert values[1]["fd"] != values[0]["fd"]


def test_interval_is_told() -> None:
    values = Judge(None, images(40, 0), device="cpu")(images(700, 1))
    assert values["fd_low"] < values["fd_corrected"] < values["fd_high"]  # type: ignore[operator]


def test_large_and_grey_training_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 20)
    sample = Judge(None, images(50, 0, 1), device="cpu")._sample()
    assert sample.shape == (20, 3, 32, 32)
    assert torch.equal(sample, Judge(None, images(50, 0, 1), device="cpu")._sample())
    assert not torch.equal(sample, Judge(None, images(50, 0, 1), device="cpu", seed=1)._sample())


def test_reference_of_images_and_of_a_file(tmp_path: Path) -> None:
    given = Judge(images(40, 3), images(10, 0), device="cpu")
    save_statistics(tmp_path / "reference.npz", build_statistics(images(40, 3), protocol="compact", device="cpu"))
    from_file = Judge(tmp_path / "reference.npz", images(10, 0), device="cpu")
    fake = images(30, 1)
    assert from_file(fake)["fd"] == pytest.approx(given(fake)["fd"], rel=1e-9)
    assert from_file.describe() == {"protocol": "compact", "metrics": ["fid"], "reference": "reference.npz"}


def test_reference_iv(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing-of-that-name"):
        Judge("stats:nothing-of-that-name", images(10, 0), device="cpu").reference()
    path = tmp_path / "reference.npz"
    statistics = build_statistics(images(40, 3), protocol="compact", device="cpu")
    statistics.meta["protocol"]["size"] = 64  # type: ignore[index]
    save_statistics(path, statistics)
    with pytest.raises(IncomparableError, match=r"the statistics in .*another protocol \(size"):
        Judge(path, images(10, 0), device="cpu").reference()
    assert get_protocol("compact").size == 32
