"""Interpolations at the steps between latents that contribute most to a path length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np

from ganeval.engine.path_length import LatentPaths
from ganeval.errors import GanEvalError, InputError
from ganeval.images.generated import GeneratedSource
from ganeval.metrics.path_length import Path
from ganeval.parsing.documents import DocumentError, Positive, typed
from ganeval.report.grids import Grid, Tile, data_uri
from ganeval.report.reopen import open_again
from ganeval.result_files import Record
from ganeval.results import MetricResult

WORST = 6
AROUND = (-0.1, -0.05, 0.0, 0.05, 0.1)  # the step, and places before and after it, in t
_TITLE = "Latent interpolations at the worst steps"
_TEXT = "Five points on a path between two latents, the measured step in the middle; the longest steps first."


class _Choices(msgspec.Struct):
    """The settings of a path length that determine its paths."""

    space: Literal["z", "w"]
    sampling: Literal["full", "end"]
    epsilon: Positive
    unit: bool


def worst_steps(record: Record, *, trusted: bool, options: Mapping[str, Any]) -> Grid | None:
    """Interpolations around the longest steps of ``ppl``; None where it was not measured.

    Args:
        trusted: as in ``reopen.looker``.
    """
    result = record.result("ppl")
    if result is None or not {"ppl_distance", "ppl_latent_digests"} <= record.arrays.keys():
        return None
    try:
        return Grid(_TITLE, _TEXT, _tiles(record, result, trusted=trusted, options=options))
    except (GanEvalError, TypeError, ValueError) as error:
        return Grid(_TITLE, _TEXT, missing=f"Left out: {' '.join(str(error).split())[:200]}.")


def _tiles(record: Record, result: MetricResult, *, trusted: bool, options: Mapping[str, Any]) -> tuple[Tile, ...]:
    distances, digests = (record.arrays[f"ppl_{name}"] for name in ("distance", "latent_digests"))
    if len(distances) != len(digests):
        raise InputError("the digests in the file of single values are of other paths")
    numbers = np.argsort(-distances, kind="stable")[:WORST].tolist()
    source = open_again("fake", record.evaluation.fake, len(distances), trusted=trusted, options=options)
    if not isinstance(source, GeneratedSource):
        raise InputError(f"{source.spec} is not a generator")
    try:
        chosen = typed(dict(result.settings), _Choices)
    except DocumentError as error:
        raise InputError(f"the settings of {result.label} do not determine its paths: {error}") from error
    walk = LatentPaths(source, Path(**msgspec.structs.asdict(chosen)))
    if [walk.digest(number) for number in numbers] != digests[numbers].tolist():
        raise InputError(f"the latents of {source.spec} are not those that were measured")
    with source.model.on_device():
        frames = [
            ((images.cpu().float() + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
            for images in walk.images(numbers, AROUND)
        ]
    return tuple(
        Tile(
            tuple(
                (data_uri(frame[i]), f"path of pair {number} at t {step:+g} from the measured step")
                for step, frame in zip(AROUND, frames, strict=True)
            ),
            f"pair {number}: {distances[number]:.4g} (median {np.median(distances):.4g})",
        )
        for i, number in enumerate(numbers)
    )
