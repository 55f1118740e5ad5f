"""The judge of a training run: the package's own numbers, against a reference that is measured once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ganeval.api import build_statistics, evaluate
from ganeval.errors import ConfigError, IncomparableError, InputError, NotEnoughSamplesError
from ganeval.protocol import get_protocol
from ganeval.statistics.reference import save_statistics
from ganeval.training import judge as module
from ganeval.training.cyclegan import train_cyclegan
from ganeval.training.dcgan import train_dcgan
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


def test_every_metric_against_evaluate() -> None:
    real, fake = images(60, 0), images(50, 1)
    values = Judge(None, real, device="cpu")(fake)
    names = ("precision", "recall", "ind")
    expected = evaluate(real, fake, metrics=names, protocol="compact", device="cpu").results
    for name in names:
        assert values[name] == pytest.approx(expected[name].value, rel=1e-9)
    assert (values["ind_low"], values["ind_high"]) == pytest.approx(
        (expected["ind"].interval.low, expected["ind"].interval.high)  # type: ignore[union-attr]
    )


def test_metrics_that_cannot_be_measured(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Unasked, they are left out with a note; asked for, it is an error."""
    caplog.set_level("INFO", logger="ganeval")
    few = Judge(None, images(40, 0), device="cpu")
    assert set(few(images(4, 1))) == {"fd", "fd_n"}
    assert "evaluations are of FD alone" in caplog.text
    with pytest.raises(NotEnoughSamplesError):
        Judge(None, images(40, 0), metrics=("ind",), device="cpu")(images(4, 1))
    caplog.clear()
    path = tmp_path / "moments.npz"
    save_statistics(path, build_statistics(images(40, 3), protocol="compact", device="cpu"))
    assert set(Judge(path, images(40, 0), device="cpu")(images(30, 1))) == {"fd", "fd_n", "fd_low", "fd_high"}
    assert "precision, recall, ind cannot be measured against" in caplog.text
    with pytest.raises(ConfigError, match=r"ind cannot be measured against .*stats build --rows"):
        Judge(path, images(40, 0), metrics=("fid", "ind"), device="cpu").reference()
    save_statistics(path, build_statistics(images(40, 3), protocol="compact", device="cpu", rows=True))
    assert "ind" in Judge(path, images(40, 0), device="cpu")(images(30, 1))


@pytest.mark.parametrize(("metrics", "message"), [(("fidd",), "Unknown metric 'fidd'"), ((), "at least one metric")])
def test_metrics_iv(metrics: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Judge(None, images(40, 0), metrics=metrics, device="cpu")


@pytest.mark.parametrize("train", [train_dcgan, lambda data, output, **o: train_cyclegan(data, data, output, **o)])
@pytest.mark.parametrize(
    ("options", "cache", "message"),
    [
        ({"metrics": ("fidd",)}, "1", "Unknown metric 'fidd'"),
        ({"protocol": "nothing"}, "1", "Unknown protocol 'nothing'"),
        ({}, "here", "GANEVAL_CACHE is 'here'; expected yes or no"),
        ({"eval_every": 0}, "here", "No such file or folder"),  # nothing would be cached
    ],
)
def test_an_evaluation_that_cannot_begin_is_found_before_the_images_are_read(
    train: Callable[..., object],
    options: dict[str, object],
    cache: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GANEVAL_CACHE", cache)
    with pytest.raises((ConfigError, InputError), match=message):
        train(tmp_path / "not there", tmp_path / "run", device="cpu", **options)
    assert list(tmp_path.iterdir()) == []


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
    described = {"protocol": "compact", "metrics": ["fid"], "reference": "reference.npz"}
    assert from_file.describe() == described  # the file holds no features of single images


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
