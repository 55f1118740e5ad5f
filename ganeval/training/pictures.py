"""Pictures of a game: grids of samples, and one figure of the log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganeval.files import written_whole
from ganeval.parsing.documents import MAX_NUMBER

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot over the steps.

    Attributes:
        title: title of the plot.
        lines: keys in the log, and their names in the legend.
        level: a value to compare with, drawn as a dashed line, and its name.
        kind: kind of the lines of the log: ``train`` or ``eval``.
        logarithmic: a logarithmic vertical axis, if the values are positive and differ enough.
        limits: limits of the vertical axis.
    """

    title: str
    lines: Mapping[str, str]
    level: tuple[float, str] | None = None
    kind: str = "train"
    logarithmic: bool = False
    limits: tuple[float, float] | None = None


def judgement(title: str, prefix: str = "") -> Panel:
    """The plot of those metrics of the evaluations that are shares."""
    names = {"precision": "precision", "recall": "recall", "ind": "advantage of the adversary"}
    return Panel(title, {f"{prefix}{k}": name for k, name in names.items()}, kind="eval", limits=(-0.05, 1.05))


def tile(images: Tensor, columns: int, *, gap: int = 2) -> NDArray[np.uint8]:
    """Arrange images side by side on white.

    Shape:
        uint8 (N, 1 or 3, H, W) -> uint8 (rows, columns, 3).
    """
    pixels = images.cpu().numpy()
    if pixels.shape[1] == 1:
        pixels = np.repeat(pixels, 3, axis=1)
    n, _, height, width = pixels.shape
    rows = math.ceil(n / columns)
    out = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, image in enumerate(pixels):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        out[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    return out


def save_grid(path: Path, images: Tensor, columns: int) -> None:
    """Write ``tile(images, columns)`` as PNG, atomically."""
    with written_whole(path) as temporary:
        Image.fromarray(tile(images, columns)).save(temporary, "PNG")


def draw_game(
    path: Path,
    log: Sequence[Mapping[str, Any]],
    panels: Sequence[Panel],
    images: Tensor,
    columns: int,
    caption: str = "samples at the end",
) -> None:
    """Draw the whole game in one figure: the panels, each over the steps, and to their right the last samples.

    A line that was never logged is left out, and so is a panel without lines. Intervals of metrics are drawn as bands.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [(panel, curves) for panel in panels if (curves := curves_of(log, panel))]
    wide = min(3, len(shown))
    tall = max(1, math.ceil(len(shown) / 3))
    pixels = tile(images, columns)
    height = 3.4 * tall
    right = min(max(4.0, height * pixels.shape[1] / pixels.shape[0]), 2 * height)  # samples as high as all panels
    figure = Figure(figsize=(4.8 * wide + right, height), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(tall, wide + 1, width_ratios=[4.8] * wide + [right])
    for i, (panel, curves) in enumerate(shown):
        _draw_panel(figure.add_subplot(grid[i // 3, i % 3]), panel, curves)
    axes = figure.add_subplot(grid[:, wide])
    axes.imshow(pixels, interpolation="none")
    axes.set_axis_off()
    axes.set_title(caption)
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _draw_panel(axes: Axes, panel: Panel, curves: Sequence[Curve]) -> None:
    from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

    for curve in curves:
        marker = "o" if len(curve.steps) < 30 else None
        (line,) = axes.plot(curve.steps, _smooth(curve.values), label=curve.name, marker=marker, ms=3)
        colour = line.get_color()
        if len(curve.values) >= 60:
            axes.plot(curve.steps, curve.values, color=colour, alpha=0.2, lw=0.6)
        if curve.band is not None:
            axes.fill_between(*curve.band, color=colour, alpha=0.2, lw=0)
    if panel.level is not None:
        axes.axhline(panel.level[0], color="0.4", ls="--", lw=1, label=panel.level[1])
    least, most = (f([f(curve.values) for curve in curves]) for f in (min, max))
    if panel.logarithmic and 0 < 3 * least < most:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(ScalarFormatter())
    if panel.limits is not None:
        axes.set_ylim(*panel.limits)
    axes.set_title(panel.title)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3, lw=0.5)
    axes.legend(fontsize="small", framealpha=0.6)


Band = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a panel.

    Attributes:
        name: name in the legend.
        band: steps, lower and upper ends of the intervals.
    """

    name: str
    steps: NDArray[np.float64]
    values: NDArray[np.float64]
    band: Band | None


def curves_of(log: Sequence[Mapping[str, Any]], panel: Panel) -> list[Curve]:
    """The lines of a panel that were logged."""
    curves = []
    for key, name in panel.lines.items():
        steps, values = series(log, panel.kind, key)
        (ends, low), (others, high) = (series(log, panel.kind, f"{key}_{end}") for end in ("low", "high"))
        band = (ends, low, high) if len(ends) and len(ends) == len(others) else None
        if len(steps):
            curves.append(Curve(name, steps, values, band))
    return curves


def series(log: Sequence[Mapping[str, Any]], kind: str, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and values that were logged under a name; an evaluation can also be at the end."""
    kinds = (kind, "end") if kind == "eval" else (kind,)
    pairs = [(line["step"], line[name]) for line in log if line.get("kind") in kinds and is_number(line.get(name))]
    steps, values = np.array(pairs, np.float64).reshape(-1, 2).T
    return steps, values


def is_number(value: object) -> bool:
    """Whether a value of a log is a number that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A centred running mean over a thirtieth of the values, which shows the trend of long runs."""
    window = len(values) // 30
    if window < 2:
        return values
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
