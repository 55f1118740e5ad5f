"""The logging recipes: TensorBoard's real files, and what the services would get."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support import logging_services

PATH = Path(__file__).resolve().parents[2] / "examples" / "log_while_training.py"
GRID = torch.arange(3 * 4 * 5, dtype=torch.uint8).reshape(3, 4, 5)
ROWS = [
    {"label": "FD[compact-v1]", "value": 12.5, "low": 11.0, "high": 14.0, "level": 0.95, "n_fake": 5000},
    {"label": "KID[compact-v1]", "value": 0.5, "low": None, "high": None, "level": None, "n_fake": 5000},
]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("log_while_training", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def log_all(logger: Any, folder: Path) -> None:
    """One step, as the loop of the example does it."""
    (folder / "report.html").write_text("<p>the page</p>", encoding="utf-8")
    logger.numbers({"FID-5k": 12.5, "FID-5k/low": 11.0}, 3)
    logger.images(GRID, 3)
    logger.table(ROWS, 3)
    logger.report(folder / "report.html")
    logger.close()


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_two_tiers(example: ModuleType, tmp_path: Path) -> None:
    sizes = {"epochs": 2, "n": 60, "final_n": 100}
    found = example.train([example.Files(tmp_path)], tmp_path / "report.html", **sizes)
    lines = lines_of(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [0, 1, 2]
    assert [evaluation["fid"].n_fake for evaluation in found] == [60, 60, 100]
    assert [line.get("FD-compact-v1-60") for line in lines] == [found[0]["fid"].value, found[1]["fid"].value, None]
    assert lines[2]["FD-compact-v1-100"] == found[2]["fid"].value
    table = lines_of(tmp_path / "table.jsonl")
    assert [(row["step"], row["n_fake"]) for row in table] == [(0, 60), (0, 60), (1, 60), (1, 60), (2, 100), (2, 100)]
    interval = found[2]["fid"].interval
    assert (table[4]["low"], table[4]["high"]) == (interval.low, interval.high)
    pictures = [np.asarray(Image.open(tmp_path / f"samples-{step}.png")) for step in range(3)]
    assert not np.array_equal(pictures[0], pictures[1])  # the same latents, and another generator
    assert np.array_equal(pictures[1], pictures[2])
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(f"step {step}" in page for step in range(3))
    unlogged = example.train([], tmp_path / "report.html", **sizes)  # logging does not change the training
    assert [one["fid"].value for one in unlogged] == [one["fid"].value for one in found]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard(example: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_all(example.TensorBoard(tmp_path), tmp_path)
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert set(read.Tags()["scalars"]) == {"FID-5k", "FID-5k/low"}
    assert [(one.step, one.value) for one in read.Scalars("FID-5k")] == [(3, 12.5)]
    (picture,) = read.Images("samples")
    assert (picture.step, picture.height, picture.width) == (3, 4, 5)
    (table,) = read.Tensors("metrics/text_summary")
    text = table.tensor_proto.string_val[0].decode()
    assert text.splitlines()[:3] == [
        "| label | value | low | high | level | n_fake |",
        "| --- | --- | --- | --- | --- | --- |",
        "| FD[compact-v1] | 12.5 | 11.0 | 14.0 | 0.95 | 5000 |",
    ]
    (named,) = read.Tensors("report/text_summary")
    page = named.tensor_proto.string_val[0].decode().split("`")[1]
    assert Path(page).read_text(encoding="utf-8") == "<p>the page</p>"


def test_wandb(example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: logging_services.Calls = []
    monkeypatch.setitem(sys.modules, "wandb", logging_services.wandb(calls))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    log_all(example.WeightsAndBiases(tmp_path), tmp_path)
    assert [name for name, _ in calls] == ["init", "log", "log", "log", "log_artifact", "finish"]
    begun, numbers, (picture, _), (table, step), artifact, _ = (call for _, call in calls)
    assert begun == ("ganeval", "offline")
    assert numbers == ({"FID-5k": 12.5, "FID-5k/low": 11.0}, 3)
    assert np.array_equal(picture["samples"].data_or_path, GRID.permute(1, 2, 0))
    assert (table["metrics"].columns, step) == (list(ROWS[0]), 3)
    assert table["metrics"].data == [list(row.values()) for row in ROWS]
    assert (artifact.type, artifact.files) == ("report", ["<p>the page</p>"])


def test_mlflow(example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: logging_services.Calls = []
    monkeypatch.setitem(sys.modules, "mlflow", logging_services.mlflow(calls))
    log_all(example.MLflow(tmp_path), tmp_path)
    names = ["start_run", "log_metrics", "log_image", "log_table", "log_artifact", "end_run"]
    assert [name for name, _ in calls] == names
    _, numbers, (picture, *where), (table, file), page, _ = (call for _, call in calls)
    assert numbers == ({"FID-5k": 12.5, "FID-5k/low": 11.0}, 3)
    assert np.array_equal(picture, GRID.permute(1, 2, 0))
    assert where == ["samples", 3]
    assert table == {"step": [3, 3], **{name: [row[name] for row in ROWS] for name in ROWS[0]}}
    assert (file, page) == ("metrics.json", "<p>the page</p>")


@pytest.mark.parametrize(
    ("recipe", "library", "begun"),
    [("WeightsAndBiases", logging_services.wandb, "init"), ("MLflow", logging_services.mlflow, "start_run")],
)
def test_a_run_that_has_begun_is_used(
    recipe: str,
    library: Callable[[logging_services.Calls], ModuleType],
    begun: str,
    example: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: logging_services.Calls = []
    module: Any = library(calls)
    if recipe == "MLflow":
        module.active_run = object
    else:
        module.run = module.Run()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    log_all(getattr(example, recipe)(tmp_path), tmp_path)
    assert begun not in [name for name, _ in calls]
    assert calls


def test_a_library_that_is_missing_is_named_in_one_line(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: logging_services.Calls = []
    monkeypatch.setitem(sys.modules, "wandb", logging_services.wandb(calls))
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    found = example.available(tmp_path)
    assert [type(one).__name__ for one in found] == ["Files", "WeightsAndBiases"]
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "mlflow: not installed" in out
