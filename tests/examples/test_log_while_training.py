"""The logging recipes: TensorBoard's real files, and what would be sent to the services."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PATH = Path(__file__).resolve().parents[2] / "examples" / "log_while_training.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("log_while_training", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_two_tiers(example: ModuleType, tmp_path: Path) -> None:
    found = example.train(example.to_lines(tmp_path / "m.jsonl"), epochs=2, n=60, final_n=100)
    lines = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert [evaluation["fid"].n_fake for evaluation in found] == [60, 60, 100]
    assert [line.get("FD-compact-v1-60") for line in lines] == [found[0]["fid"].value, found[1]["fid"].value, None]
    assert lines[2]["FD-compact-v1-100"] == found[2]["fid"].value


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard(example: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = example.to_tensorboard(str(tmp_path))
    log({"FID-5k": 12.5, "FID-5k/low": 11.0}, 3)
    log({"FID-5k": 10.5}, 4)
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    assert set(read.Tags()["scalars"]) == {"FID-5k", "FID-5k/low"}
    assert [(one.step, one.value) for one in read.Scalars("FID-5k")] == [(3, 12.5), (4, 10.5)]


def test_services(example: ModuleType) -> None:
    class Service:
        def __init__(self) -> None:
            self.got: list[Any] = []

        def log(self, values: dict[str, float], step: int) -> None:
            self.got.append((values, step))

        log_metrics = log

    for recipe in (example.to_wandb, example.to_mlflow):
        service = Service()
        recipe(service)({"FID-5k": 1.0}, 7)
        assert service.got == [({"FID-5k": 1.0}, 7)]
