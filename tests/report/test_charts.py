"""Places on the paper, and the values of single images as a table."""

from __future__ import annotations

import csv
import re
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from ganeval.errors import InputError
from ganeval.report.charts import Plot, Scale, edges_for, heights, nice_ticks, padded
from ganeval.report.grids import call, choose
from ganeval.report.table import columns, write_table


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2, 17.0), (1e-6, 3e-6), (-5e7, 2e8), (0.97, 1.0)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    ticks = nice_ticks(low, high)
    assert 3 <= len(ticks) <= 9
    assert low <= ticks[0] < ticks[-1] <= high
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0])
    assert round(steps[0] / 10 ** np.floor(np.log10(steps[0])), 6) in (1, 2, 5, 10)


def test_scales_meet_their_ends() -> None:
    linear, logarithmic = Scale(2.0, 4.0, 10.0, 110.0), Scale(1.0, 100.0, 0.0, 50.0, True)
    assert (linear(2), linear(3), linear(4)) == (10.0, 60.0, 110.0)
    assert (logarithmic(1), logarithmic(10), logarithmic(100)) == (0.0, 25.0, 50.0)
    assert logarithmic.ticks() == [1, 10, 100]


@pytest.mark.parametrize("values", [[], [0.0], [3.0, 3.0], [np.nan, np.inf], [np.inf, 2.0]])
def test_axes_have_width_degenerate(values: list[float]) -> None:
    low, high = padded(values)
    assert np.isfinite([low, high]).all()
    assert low < high


def test_a_line_goes_through_its_points_and_breaks_at_nan() -> None:
    plot = Plot("a & b", (0.0, 10.0), (0.0, 1.0), "x", "y")
    plot.line([0, 5, 10, 10], [0.0, float("nan"), 1.0, 0.5], 0, "<name>")
    svg = str(plot.svg("it rises"))
    (path,) = re.findall(r'<path class="line c0 d0" d="(M[^"]*)"/>', svg.split("</figcaption>")[1])
    assert re.fullmatch(r"M62.0,244.0 M446.0,34.0 L446.0,139.0", path)
    assert "&lt;name&gt;" in svg
    assert 'aria-label="a &amp; b. it rises"' in svg


def test_histogram_counts_every_value_once() -> None:
    values = np.array([-5.0, 0.1, 0.2, 0.9, 70.0])
    edges = np.linspace(0.0, 1.0, 5)
    np.testing.assert_allclose(heights(values, edges), [0.6, 0.0, 0.0, 0.4])
    assert edges_for(np.array([np.inf, 1.0, 2.0]))[-1] < 2.01


ARRAYS = {
    "realism_fake": np.array([0.5, np.inf, 1.5]),
    "nearest_real_fake": np.array([1, 0, 1]),
    "nearest_fake_real": np.array([2, 0]),
    "nearest_distance_fake": np.array([2.0, 0.0, 0.1]),
    "nearest_distance_real": np.array([0.1, 2.0]),
    "nearest_ratio_fake": np.array([1.5, 0.0, 0.05]),
    "covered_real": np.array([1.0, 0.0]),
    "fake_image_names": np.array(["=cmd()", "b,\n.png", "c.png"]),
    "fid_influence_fake": np.array([0.25, -0.5, 0.25]),
}


def test_table_has_every_image_of_both_sets(tmp_path: Path) -> None:
    table = columns(ARRAYS, 3, 2)
    assert table["set"].tolist() == ["fake"] * 3 + ["real"] * 2
    assert table["nearest"].tolist() == ["#1", "#0", "#1", "c.png", "=cmd()"]
    assert "adversary_score" not in table
    write_table(tmp_path / "t.csv", table)
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == ["'=cmd()", "b,\n.png", "c.png", "#0", "#1"]
    assert [row["realism"] for row in rows] == ["0.5", "inf", "1.5", "", ""]
    assert [row["covered"] for row in rows] == ["", "", "", "1", "0"]
    write_table(tmp_path / "t.npz", table)
    with np.load(tmp_path / "t.npz", allow_pickle=False) as archive:
        assert set(archive.files) == set(table)
        np.testing.assert_array_equal(archive["influence_on_fid"], [0.25, -0.5, 0.25, np.nan, np.nan])
        assert archive["path"].tolist() == ["=cmd()", "b,\n.png", "c.png", "#0", "#1"]
    with pytest.raises(InputError, match=r"\.csv or \.npz"):
        write_table(tmp_path / "t.xlsx", table)


def test_choices_follow_the_values() -> None:
    chosen = {choice.title: choice for choice in choose(ARRAYS, 3)}
    assert chosen["Least realistic fakes"].places == (0, 2, 1)
    assert chosen["Most realistic fakes"].places == (1, 2, 0)
    assert chosen["Fakes next to their nearest reals"].places == (1, 2, 0)
    assert chosen["Fakes next to their nearest reals"].partners == (0, 1, 1)
    assert chosen["Reals that no fake covers"].places == (1,)
    assert chosen["Fakes that raise the Frechet distance most"].places == (0, 2, 1)
    nothing = choose({}, 3)
    assert nothing[0].places == (0, 1, 2)
    assert all(choice.missing for choice in nothing[1:])


def test_calls() -> None:
    assert [call(*given) for given in ((0.0, 0.0, True), (0.0, 0.0, False), (0.1, 0.3, False), (0.5, 1.0, False))] == [
        "copy, pixel by pixel", "copy: the same features", "near copy", "nearer than any real",
    ]  # fmt: skip
    assert call(1.2, 3.0, False) == "not a copy"
    assert call(float("inf"), 3.0, False) == "not a copy"


def luminance(colour: str) -> float:
    """WCAG 2: relative luminance of #rrggbb."""
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("scheme", [0, 1])
def test_contrast(scheme: int) -> None:
    """Text at least 4.5 to 1, marks at least 3 to 1, in light and in dark (WCAG 2, level AA)."""
    style = (files("ganeval.report") / "style.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--(\w+): (#\w{6});", re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]))
    text, marks = ("ink", "soft", "good", "bad", "open"), ("c0", "c1", "c2", "c3")
    for name, least in {**dict.fromkeys(text, 4.5), **dict.fromkeys(marks, 3.0)}.items():
        for ground in ("paper", "back"):
            light, dark = sorted((luminance(colours[name]), luminance(colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= least, (name, ground)
