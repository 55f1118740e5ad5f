"""Pictures of a game: grids of samples, and one figure of all that was logged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganeval.files import written_whole


@dataclass(frozen=True, slots=True)
class Panel:
    """One plot over the steps.

    Attributes:
        title: above it.
        lines: key in the log, and what the legend calls it.
        level: a value to compare with, drawn as a dashed line, and its name.
        kind: which lines of the log, ``train`` or ``eval``.
        logarithmic: the vertical axis.
    """

    title: str
    lines: Mapping[str, str]
    level: tuple[float, str] | None = None
    kind: str = "train"
    logarithmic: bool = False


def tile(images: Tensor, columns: int, *, gap: int = 2) -> NDArray[np.uint8]:
    """Images side by side on white.

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
    """Write ``tile(images, columns)`` as PNG, whole or not at all."""
    with written_whole(path) as temporary:
        Image.fromarray(tile(images, columns)).save(temporary, "PNG")


def draw_game(
    path: Path, log: Sequence[Mapping[str, Any]], panels: Sequence[Panel], images: Tensor, columns: int
) -> None:
    """The whole game in one figure: the panels, each over the steps, and the last samples.

    A line that was never logged is left out, and so is a panel without lines.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [(panel, found) for panel in panels if (found := _series(log, panel))]
    n = len(shown) + 1
    wide = min(3, n)
    tall = math.ceil(n / wide)
    figure = Figure(figsize=(5.2 * wide, 3.6 * tall), layout="constrained")
    FigureCanvasAgg(figure)
    for i, (panel, found) in enumerate(shown, start=1):
        axes = figure.add_subplot(tall, wide, i)
        for name, (steps, values) in found.items():
            smooth = _smooth(values)
            (line,) = axes.plot(steps, smooth, label=panel.lines[name], marker="o" if len(steps) < 30 else None, ms=3)
            if len(values) >= 60:
                axes.plot(steps, values, color=line.get_color(), alpha=0.2, lw=0.6)
        if panel.level is not None:
            axes.axhline(panel.level[0], color="0.4", ls="--", lw=1, label=panel.level[1])
        if panel.logarithmic and all((values > 0).all() for _, values in found.values()):
            axes.set_yscale("log")
        axes.set_title(panel.title)
        axes.set_xlabel("step")
        axes.legend(fontsize="small")
    axes = figure.add_subplot(tall, wide, n)
    axes.imshow(tile(images, columns))
    axes.set_axis_off()
    axes.set_title("samples at the end")
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


Series = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def _series(log: Sequence[Mapping[str, Any]], panel: Panel) -> Series:
    out: Series = {}
    for name in panel.lines:
        kinds = (panel.kind, "end") if panel.kind == "eval" else (panel.kind,)
        pairs = [(line["step"], line[name]) for line in log if line["kind"] in kinds and line.get(name) is not None]
        if pairs:
            steps, values = np.asarray(pairs, np.float64).T
            out[name] = steps, values
    return out


def _smooth(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A centred running mean over a thirtieth of the values, so that a trend is seen in long runs."""
    window = len(values) // 30
    if window < 2:
        return values
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")
