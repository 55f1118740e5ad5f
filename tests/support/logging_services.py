"""Stand-ins for wandb and mlflow: they take what the documented signatures allow, and keep it.

Signatures are those of wandb 0.31 and mlflow 3.17, in which the example ran; parameters that it may not use are left
out where they are behind all that it may.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

Calls = list[tuple[str, Any]]


def wandb(calls: Calls) -> ModuleType:
    """The module, without a run."""

    @dataclass
    class Image:
        data_or_path: np.ndarray
        mode: str | None = None
        caption: str | None = None

    @dataclass
    class Table:
        columns: list[str] | None = None
        data: list[list[Any]] | None = None
        rows: None = None

    @dataclass
    class Artifact:
        name: str
        type: str
        description: str | None = None
        metadata: dict[str, Any] | None = None
        incremental: bool = False
        files: list[str] = field(default_factory=list, init=False)

        def add_file(self, local_path: str, name: str | None = None, is_tmp: bool = False) -> None:
            self.files.append(Path(local_path).read_text(encoding="utf-8"))

    class Run:
        def log(self, data: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
            calls.append(("log", (data, step)))

        def log_artifact(
            self, artifact_or_path: Artifact, name: str | None = None, type: str | None = None
        ) -> Artifact:
            calls.append(("log_artifact", artifact_or_path))
            return artifact_or_path

        def finish(self, exit_code: int | None = None) -> None:
            calls.append(("finish", exit_code))

    def init(
        entity: str | None = None,
        project: str | None = None,
        dir: str | None = None,
        *,
        name: str | None = None,
        mode: str | None = None,
    ) -> Run:
        assert mode in (None, "online", "offline", "disabled", "shared")
        calls.append(("init", (project, mode)))
        return Run()

    module = ModuleType("wandb")
    module.__dict__.update(run=None, Image=Image, Table=Table, Artifact=Artifact, Run=Run, init=init)
    return module


def mlflow(calls: Calls) -> ModuleType:
    """The module, without a run."""

    def start_run(run_id: str | None = None, experiment_id: str | None = None, run_name: str | None = None) -> None:
        calls.append(("start_run", run_name))

    def end_run(status: str = "FINISHED") -> None:
        calls.append(("end_run", status))

    def log_metrics(metrics: dict[str, float], step: int | None = None, synchronous: bool | None = None) -> None:
        calls.append(("log_metrics", (metrics, step)))

    def log_image(
        image: np.ndarray, artifact_file: str | None = None, key: str | None = None, step: int | None = None
    ) -> None:
        assert (artifact_file is None) == (key is not None)  # a file, or a series
        calls.append(("log_image", (image, key, step)))

    def log_table(data: dict[str, Any], artifact_file: str, run_id: str | None = None) -> None:
        assert len({len(column) for column in data.values()}) == 1
        calls.append(("log_table", (data, artifact_file)))

    def log_artifact(local_path: str, artifact_path: str | None = None, run_id: str | None = None) -> None:
        calls.append(("log_artifact", Path(local_path).read_text(encoding="utf-8")))

    module = ModuleType("mlflow")
    functions = (start_run, end_run, log_metrics, log_image, log_table, log_artifact)
    module.__dict__.update({one.__name__: one for one in functions}, active_run=lambda: None)
    return module
