"""A training run on a page: its metrics with their intervals, the curves of the game, and samples during training."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from ganeval.errors import InputError
from ganeval.parsing.documents import MAX_NUMBER
from ganeval.report.charts import Plot, padded
from ganeval.report.grids import encoded, reduced
from ganeval.training.cycle_game import CycleGame
from ganeval.training.dcgan import DCGANGame
from ganeval.training.pictures import Panel, curves_of, is_number
from ganeval.training.runs import SAMPLES, read_run

_PANELS: Mapping[str, tuple[Panel, ...]] = {"dcgan": DCGANGame.panels, "cyclegan": CycleGame.panels}
_SHOWN = 4  # grids of samples
_LARGEST = 2**17  # bytes of a grid
_WIDEST = 640  # longest side of a reduced grid, which is shown at half of it


@dataclass(frozen=True, slots=True)
class Training:
    """One training run.

    Attributes:
        name: of the folder.
        facts: rows (setting, value).
        metrics: rows of the last evaluation: (metric, value, interval, images).
        plots: metrics over the steps, then the curves of the game.
        samples: (data URI, alternative text, caption).
    """

    name: str
    steps: int
    facts: tuple[tuple[str, str], ...]
    metrics: tuple[tuple[str, str, str, str], ...]
    plots: tuple[Markup, ...]
    samples: tuple[tuple[str, str, str], ...]


def read_training(folder: Path) -> Training:
    """The training run in a folder.

    Raises:
        InputError: the folder has no run, or a run of an unknown model.
    """
    config, log = read_run(folder)
    model = str(config.get("model"))
    if model not in _PANELS:
        raise InputError(f"{folder} holds a run of {model}, expected one of {', '.join(_PANELS)}.")
    panels = sorted(_PANELS[model], key=lambda panel: panel.kind != "eval")
    steps = max((line["step"] for line in log), default=0)
    return Training(
        name=folder.resolve().name,
        steps=steps,
        facts=tuple(_facts(config)),
        metrics=tuple(_last(log, panels)),
        plots=tuple(plot for panel in panels if (plot := draw(panel, log)) is not None),
        samples=tuple(_samples(folder)),
    )


def draw(panel: Panel, log: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Plot one panel over the steps; measured lines have their intervals as bands."""
    curves = curves_of(log, panel)
    if not curves:
        return None
    values = np.concatenate([curve.values for curve in curves])
    if panel.level is not None:
        values = np.append(values, panel.level[0])
    logarithmic = panel.logarithmic and values.min() > 1 / MAX_NUMBER and values.max() > 3 * values.min()
    last = max(float(curve.steps[-1]) for curve in curves)
    limits = panel.limits or padded(values, logarithmic=logarithmic)
    plot = Plot(panel.title, (0.0, last or 1.0), limits, "step", "", log_y=logarithmic)
    banded = False
    for i, curve in enumerate(curves):
        if curve.band is not None and len(curve.band[0]) > 1:
            plot.band(*curve.band, i, "" if banded else "interval")
            banded = True
        plot.line(curve.steps, curve.values, i, curve.name, markers=panel.kind == "eval")
    if panel.level is not None:
        plot.level(*panel.level)
    return plot.svg(" ".join(f"{curve.name} ends at {curve.values[-1]:.4g}." for curve in curves))


def _last(log: Sequence[Mapping[str, Any]], panels: Sequence[Panel]) -> list[tuple[str, str, str, str]]:
    """The metrics of the last evaluation."""
    evaluated = [line for line in log if line.get("kind") in ("eval", "end")]
    if not evaluated:
        return []
    line, rows = evaluated[-1], []
    for panel in panels:
        for key, name in panel.lines.items() if panel.kind == "eval" else ():
            if not is_number(line.get(key)):
                continue
            ends = [line.get(f"{key}_{end}") for end in ("low", "high")]
            interval = " to ".join(f"{end:.4g}" for end in ends if is_number(end)) or "none"
            alike = sum(name in other.lines.values() for other in panels if other.kind == "eval")
            prefix = f"{panel.title}: " if alike > 1 else ""
            rows.append((f"{prefix}{name}", f"{line[key]:.4g}", interval, str(line.get(f"{key}_n", ""))))
    return rows


def _facts(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in config.items():
        if isinstance(value, dict):
            rows += _facts(value, f"{prefix}{key}, ")
        elif key != "schema":
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((f"{prefix}{key}".replace("_", " "), shown))
    return rows


def _samples(folder: Path) -> list[tuple[str, str, str]]:
    """A few of the grids that the run saved, from the first to the last."""
    paths = sorted((folder / SAMPLES).glob("*.png"))
    chosen = [paths[i] for i in sorted({*np.linspace(0, len(paths) - 1, min(_SHOWN, len(paths))).round().astype(int)})]
    samples = []
    for path in chosen:
        if not path.stem.isdigit():
            continue
        try:
            uri, (width, height) = _small(path)
        except (OSError, Image.DecompressionBombError):  # not a picture
            continue
        caption = f"step {int(path.stem)}"
        samples.append((uri, f"grid of samples at {caption}, {width} by {height} pixels", caption))
    return samples


def _small(path: Path) -> tuple[str, tuple[int, int]]:
    """A picture as a data URI, unchanged if its file is small, else reduced; and its original width and height."""
    content = path.read_bytes()
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:  # some other formats run a program
        small = len(content) <= _LARGEST
        return encoded("png", content) if small else reduced(image.convert("RGB"), _WIDEST), image.size
