"""Scores of single images that another program made, from a file to an Evaluation like any other."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np
import torch

from ganeval.engine.scores_config import ScoresConfig
from ganeval.environment import environment
from ganeval.errors import ConfigError, InputError, listed, number_of
from ganeval.images.grouping import text_ids
from ganeval.metrics import scores as metric
from ganeval.parsing.arguments import option
from ganeval.parsing.tables import Table, read_rows
from ganeval.results import Evaluation

_SHOWN = 40  # characters of a value in a message


def run_scores(path: Path, config: ScoresConfig) -> Evaluation:
    """Read the file and measure its columns.

    Raises:
        InputError: the file cannot be used; the message names the row and the column.
        ConfigError: an option names a column that is not measured.
    """
    started = time.perf_counter()
    table = read_rows(path, "scores")
    names, notes = _columns(table, config)
    per_image = {} if config.id is None else {"fake_input_digests": text_ids(table.ids(config.id))}
    groups = None
    if config.group_by is not None:
        groups = per_image["fake_groups"] = text_ids(table.texts(config.group_by))
        number = np.unique(groups).size
        notes.append(f"rows that belong together count as one in the error bars ({number} groups of {len(table)} rows)")
    directions = dict.fromkeys(config.higher_is_better, True) | dict.fromkeys(config.lower_is_better, False)
    results = {
        name: metric.measure(
            name,
            np.array(table.numbers(name)),
            higher_is_better=directions.get(name),
            level=config.level,
            groups=groups,
        )
        for name in names
    }
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:32]
    return Evaluation(
        results=results,
        real=None,
        fake={"spec": str(path), "kind": "scores", "n": len(table), "digest": digest},
        environment=environment(torch.device("cpu"), "float64"),
        notes=tuple(notes),
        elapsed_seconds=time.perf_counter() - started,
        per_image=per_image,
    )


def _columns(table: Table, config: ScoresConfig) -> tuple[list[str], list[str]]:
    """The columns to measure, and notes on those that are left out."""
    special = [name for name in (config.id, config.group_by) if name is not None]
    names = list(dict.fromkeys(config.column or ()))
    notes: list[str] = []
    if config.column is None:
        rest = [name for name in table.columns if name not in special]
        names = [name for name in rest if name and table.has_numbers(name)]
        if left := [name or "a column without a name" for name in rest if name not in names]:
            notes.append(f"left out, because they are not scores: {listed(left, 5)}")
    if not names:
        found = "none"
        if config.column is None:
            first = listed([repr(cells[0])[:_SHOWN] for cells in table.columns.values()])
            found = f"{number_of(len(table.columns), 'column')}, none of numbers (the first row has {first})"
        raise InputError(
            f"{table.path}: found {found}; expected at least one column of numbers, with points for decimals."
        )
    for key, given in (("higher_is_better", config.higher_is_better), ("lower_is_better", config.lower_is_better)):
        if unknown := [name for name in given if name not in names]:
            raise ConfigError(
                f"{option(key)} names {unknown[0]!r}, which is not measured. Measured columns: {listed(names, 20)}."
            )
    return names, notes
