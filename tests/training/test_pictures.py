"""Grids pixel by pixel; the figure by what it is asked to show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from PIL import Image

from ganeval.training import pictures
from ganeval.training.pictures import Panel, _smooth, curves_of, draw_game, judgement, save_grid, tile

IMAGES = torch.arange(3 * 3 * 2 * 2, dtype=torch.uint8).reshape(3, 3, 2, 2)


def test_tile() -> None:
    grid = tile(IMAGES, 2, gap=1)
    assert grid.shape == (5, 5, 3)
    assert np.array_equal(grid[:2, 3:], IMAGES[1].permute(1, 2, 0).numpy())
    assert np.array_equal(grid[3:, :2], IMAGES[2].permute(1, 2, 0).numpy())
    assert (grid[2] == 255).all()
    assert (grid[3:, 3:] == 255).all()  # where there is no fourth image


def test_grey_grid(tmp_path: Path) -> None:
    save_grid(tmp_path / "a.png", IMAGES[:, :1], 3)
    with Image.open(tmp_path / "a.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (2, 10, 3)
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[1, 1].tolist() == [3, 3, 3]


def test_series() -> None:
    log = [
        {"kind": "eval", "step": 0, "fd": 9.0},
        {"kind": "train", "step": 1, "d": 1.0},
        {"kind": "train", "step": 2, "d": 2.0, "fd": -1.0},
        {"kind": "end", "step": 2, "fd": 3.0},
    ]
    (found,) = curves_of(log, Panel("", {"fd": "FD", "none": "?"}, kind="eval"))
    assert (found.name, found.steps.tolist(), found.values.tolist(), found.band) == ("FD", [0, 2], [9, 3], None)
    (found,) = curves_of(log, Panel("", {"d": "D"}))
    assert (found.steps.tolist(), found.values.tolist()) == ([1, 2], [1, 2])


def test_band() -> None:
    log = [
        {"kind": "eval", "step": 0, "ind": 0.5},  # of an evaluation without an interval
        {"kind": "eval", "step": 3, "ind": 0.4, "ind_low": 0.3, "ind_high": 0.6},
        {"kind": "end", "step": 9, "ind": 0.2, "ind_low": 0.1, "ind_high": 0.3},
    ]
    (found,) = curves_of(log, judgement(""))
    assert found.steps.tolist() == [0, 3, 9]
    assert found.band is not None
    assert [x.tolist() for x in found.band] == [[3, 9], [0.3, 0.1], [0.6, 0.3]]


def test_smoothing_against_theory() -> None:
    values = np.linspace(-3, 5, 300)
    assert _smooth(values)[20:-20] == pytest.approx(values[20:-20], abs=0.05)
    assert _smooth(np.full(300, 2.0)) == pytest.approx(np.full(300, 2.0))  # the ends too
    assert np.std(_smooth(np.random.default_rng(0).normal(size=900))) < 0.35
    assert _smooth(values[:20]) is not None


def test_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = [{"kind": "train", "step": s, "d": np.sin(s), "g": 2.0} for s in range(1, 100)]
    log += [{"kind": "eval", "step": s, "recall": 0.4, "recall_low": 0.3, "recall_high": 0.5} for s in (1, 99)]
    panels = (
        Panel("a", {"d": "D", "g": "G"}, (0.5, "half")),
        Panel("not logged", {"z": "z"}),
        Panel("b", {"d": "negative, too"}, logarithmic=True),
        judgement("c"),
    )
    drawn: list[Axes] = []
    draw = pictures._draw_panel
    monkeypatch.setattr(pictures, "_draw_panel", lambda axes, *rest: (drawn.append(axes), draw(axes, *rest)))
    draw_game(tmp_path / "game.png", log, panels, IMAGES, 2, "images")
    assert [axes.get_title() for axes in drawn] == ["a", "b", "c"]
    assert [len(axes.collections) for axes in drawn] == [0, 0, 1]  # the interval of what was measured
    assert drawn[2].get_ylim() == (-0.05, 1.05)
    assert drawn[1].get_yscale() == "linear"
    assert [axes.get_title() for axes in drawn[0].figure.axes][-1] == "images"
    with Image.open(tmp_path / "game.png") as picture:
        assert picture.width > 1000
    draw_game(tmp_path / "empty.png", [], panels, IMAGES[:, :1], 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty.png", "game.png"]
