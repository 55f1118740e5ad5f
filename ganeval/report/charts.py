"""Plots as SVG inside a page: they take the colours of the page, light or dark, and need no script.

A plot consists of marks in the units of its axes. Series differ by colour (the palette of Okabe & Ito, which
colour-blind readers can distinguish; it is in the style sheet of the page) and by dashes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from unicodedata import east_asian_width

import numpy as np
from markupsafe import Markup

from ganeval.report.templates import render

WIDTH, HEIGHT = 460, 290
_LEFT, _EDGE, _TOP, _FOOT = 62, WIDTH - 14, 34, HEIGHT - 46
NAMED = 152  # left edge of a plot that has names at its left
_BROAD, _LETTER = 13.5, 8.6  # widths that no letter of a name exceeds, also on a narrow screen
_DIGIT = 9.8  # width that no digit below a plot exceeds
_MOST_POINTS = 400  # of a line: more would not be visible
_TICKS = 5
_NARROWEST = 1e-250  # width of an axis; closer ticks are lost in rounding


Mark = tuple[str, str, str | None, dict[str, Any]]  # tag, class, text, attributes


@dataclass(frozen=True, slots=True)
class Scale:
    """Map from values to places on the paper, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (self._inner(x) for x in (self.low, self.high, value))
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 2)

    def _inner(self, value: float) -> float:
        return math.log10(value) if self.logarithmic else value

    def ticks(self) -> list[float]:
        if not self.logarithmic:
            return nice_ticks(self.low, self.high)
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5)):
            ticks = [s * 10.0**p for p in powers for s in steps if self.low <= s * 10.0**p <= self.high]
            if len(ticks) >= 3:
                break
        return ticks


def nice_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two ends, about five.

    >>> nice_ticks(0.0, 1.05)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw * 0.7)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def padded(
    values: Sequence[float] | np.ndarray, *, logarithmic: bool = False, share: float = 0.06
) -> tuple[float, float]:
    """Ends of an axis that contains these values, with some room; the width is never zero."""
    finite = np.asarray(values, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not finite.size:
        return (1.0, 10.0) if logarithmic else (0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if logarithmic:
        factor = max((high / low) ** share, 1.05)
        return low / factor, high * factor
    room = share * (high - low) or 0.05 * abs(high)
    room = room if room > _NARROWEST else 0.5
    return low - room, high + room


@dataclass(slots=True)
class Plot:
    """One plot: the methods draw on it in order, and ``svg`` returns it.

    Attributes:
        title: above it; a screen reader reads it first.
        x, y: ends of the axes.
        x_label, y_label: quantity and unit.
        left: left edge; ``NAMED`` leaves room for names.
    """

    title: str
    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str
    y_label: str
    log_x: bool = False
    log_y: bool = False
    y_ticks: bool = True
    x_ticks: tuple[float, ...] | None = None  # None: round numbers
    left: int = _LEFT
    _marks: list[Mark] = field(default_factory=list)
    _legend: list[tuple[str, str, str]] = field(default_factory=list)
    _across: Scale = field(init=False)
    _up: Scale = field(init=False)

    def __post_init__(self) -> None:
        self._across = Scale(*self.x, self.left, _EDGE, self.log_x)
        self._up = Scale(*self.y, _FOOT, _TOP, self.log_y)

    def line(
        self,
        xs: Sequence[float] | np.ndarray,
        ys: Sequence[float] | np.ndarray,
        series: int,
        name: str = "",
        *,
        markers: bool = False,
        faint: bool = False,
    ) -> None:
        """Draw a line through points; values that are not finite interrupt it."""
        places = np.linspace(0, len(xs) - 1, min(len(xs), _MOST_POINTS)).round().astype(int)
        d, pen = [], "M"
        for i in places.tolist():
            if not (math.isfinite(xs[i]) and math.isfinite(ys[i])):
                pen = "M"
                continue
            d.append(f"{pen}{self._across(xs[i])},{self._up(ys[i])}")
            pen = "L"
        self._draw("path", f"{'faint' if faint else 'line'} c{series} d{series}", d=" ".join(d))
        if markers:
            self.points(xs, ys, series)
        self.explain("line", series, name)

    def points(
        self, xs: Sequence[float] | np.ndarray, ys: Sequence[float] | np.ndarray, series: int, name: str = ""
    ) -> None:
        for x, y in zip(xs, ys, strict=True):
            if math.isfinite(x) and math.isfinite(y):
                self._draw("circle", f"point c{series}", cx=self._across(x), cy=self._up(y), r=3)
        self.explain("point", series, name)

    def band(
        self,
        xs: Sequence[float] | np.ndarray,
        low: Sequence[float] | np.ndarray,
        high: Sequence[float] | np.ndarray,
        series: int,
        name: str = "",
    ) -> None:
        """Draw the area between two lines."""
        corners = [*zip(xs, high, strict=True), *reversed([*zip(xs, low, strict=True)])]
        spots = (f"{self._across(x)},{self._up(min(max(y, self.y[0]), self.y[1]))}" for x, y in corners)
        self._draw("polygon", f"band c{series}", points=" ".join(spots))
        self.explain("band", series, name)

    def error(self, place: float, low: float, high: float, series: int, *, across: bool = False) -> None:
        """Draw an interval: vertical at ``place``, or horizontal at that height; clipped at the ends of the axis."""
        ends = self.x if across else self.y
        low, high = (min(max(v, ends[0]), ends[1]) for v in (low, high))
        (x1, y1), (x2, y2) = ((low, place), (high, place)) if across else ((place, low), (place, high))
        self._draw(
            "line", f"error c{series}", x1=self._across(x1), y1=self._up(y1), x2=self._across(x2), y2=self._up(y2)
        )

    def histogram(self, values: np.ndarray, series: int, name: str, edges: np.ndarray) -> None:
        """Draw the shares of the values between the edges, as a filled outline."""
        d = [f"M{self._across(edges[0])},{self._up(0)}"]
        for share, left, right in zip(heights(values, edges), edges[:-1], edges[1:], strict=True):
            d.append(f"L{self._across(left)},{self._up(share)} L{self._across(right)},{self._up(share)}")
        d.append(f"L{self._across(edges[-1])},{self._up(0)}")
        self._draw("path", f"area c{series} d{series}", d=" ".join(d))
        self.explain("line", series, name)

    def bar(self, place: float, value: float, series: int, label: str) -> None:
        """Draw a horizontal bar from 0 at height ``place``, with its name at the left."""
        left, right = sorted((self._across(max(0.0, self.x[0])), self._across(value)))
        top, bottom = self._up(place + 0.3), self._up(place - 0.3)
        self._draw("rect", f"bar c{series}", x=left, y=top, width=round(right - left, 2), height=round(bottom - top, 2))
        self.name(place, label)

    def cell(self, x: float, y: float, share: float, series: int) -> None:
        """Draw a unit square around (x, y), the more opaque the larger the share, 0 to 1."""
        left, right = self._across(x - 0.5), self._across(x + 0.5)
        top, bottom = self._up(y + 0.5), self._up(y - 0.5)
        size: dict[str, Any] = {"width": round(right - left, 2), "height": round(bottom - top, 2)}
        size["fill-opacity"] = round(share, 3)
        self._draw("rect", f"cell c{series}", x=left, y=top, **size)

    def name(self, place: float, label: str) -> None:
        """Write a name at height ``place``, at the left of the plot."""
        short = shortened(label, self.left - 10)
        shown = short if short == label else Markup("<title>{}</title>{}").format(label, short)
        self._draw("text", "name", shown, x=self.left - 6, y=round(self._up(place) + 4, 2))

    def level(self, value: float, name: str, *, upright: bool = False) -> None:
        """Draw a dashed line across the plot, with its meaning in the key."""
        if upright:
            x = self._across(value)
            self._draw("line", "level", x1=x, x2=x, y1=_TOP, y2=_FOOT)
        else:
            y = self._up(value)
            self._draw("line", "level", x1=self.left, x2=_EDGE, y1=y, y2=y)
        self._legend.append(("level", "", name))

    def explain(self, kind: str, series: int, name: str) -> None:
        """Add a line to the key, if it has a name."""
        if name:
            self._legend.append((kind, str(series), name))

    def _draw(self, tag: str, kind: str, text: str | None = None, **attributes: object) -> None:
        self._marks.append((tag, kind, text, attributes))

    def svg(self, alt: str) -> Markup:
        """The picture; ``alt`` describes it in words."""
        marks = [*self._grid(), *self._marks]
        values = {"title": self.title, "alt": alt, "legend": self._legend, "marks": marks}
        return render("plot.svg.jinja", width=WIDTH, height=HEIGHT, **values)

    def _grid(self) -> list[Mark]:
        marks: list[Mark] = []
        across = self.x_ticks or self._across.ticks()
        for tick, name in zip(across, tick_names(across), strict=True):
            x = self._across(tick)
            marks.append(("line", "rule", None, {"x1": x, "x2": x, "y1": _TOP, "y2": _FOOT}))
            inside = min(x, WIDTH - _DIGIT * len(name) / 2)  # the last number can be wider than the margin
            marks.append(("text", "tick middle", name, {"x": round(inside, 2), "y": _FOOT + 16}))
        up = self._up.ticks() if self.y_ticks else []
        for tick, name in zip(up, tick_names(up), strict=True):
            y = self._up(tick)
            marks.append(("line", "rule", None, {"x1": self.left, "x2": _EDGE, "y1": y, "y2": y}))
            marks.append(("text", "tick end", name, {"x": self.left - 6, "y": round(y + 4, 2)}))
        marks.append(("text", "axis middle", self.x_label, {"x": (self.left + _EDGE) / 2, "y": HEIGHT - 8}))
        marks.append(("text", "axis", self.y_label, {"x": 4, "y": _TOP - 14}))
        return marks


def rows_plot(title: str, x: tuple[float, float], n: int, x_label: str) -> Plot:
    """A plot with ``n`` named rows."""
    return Plot(title, x, (min(0, n - 5) - 0.7, n - 0.3), x_label, "", y_ticks=False, left=NAMED)


def shortened(label: str, room: float) -> str:
    """The part of a name that fits, with an ellipsis for the rest.

    >>> shortened("airplane", 118), shortened("a flying machine", 118)
    ('airplane', 'a flying mac…')
    """
    ends = np.cumsum([_BROAD if c in "MWmw@%" or east_asian_width(c) in "WF" else _LETTER for c in label])
    return label if not len(label) or ends[-1] <= room else label[: int((ends <= room - _LETTER).sum())] + "…"


def tick_names(ticks: Sequence[float]) -> list[str]:
    """Labels of ticks: short, with a true minus sign, and with enough digits to differ.

    >>> tick_names([1e6, 2e6]), tick_names([1234567.25, 1234567.5])
    (['1e6', '2e6'], ['1234567.2', '1234567.5'])
    """
    for digits in (6, 8, 10, 12):
        names = [f"{tick:.{digits}g}" for tick in ticks]
        if len(set(names)) == len(names):
            break
    return [name.replace("e+0", "e").replace("e-0", "e-").replace("e+", "e").replace("-", "\u2212") for name in names]


def heights(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of the values in each bin; values outside count in the first or last bin."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    shares: np.ndarray = counts / max(1, len(values))
    return shares


def edges_for(*sets: np.ndarray) -> np.ndarray:
    """Edges that contain 99 % of each set, so that a few far values do not flatten the rest."""
    finite = [values[np.isfinite(values)] for values in sets]
    bins = int(np.clip(2 * np.sqrt(min(map(len, finite))), 12, 40))
    low = min(float(values.min()) for values in finite if values.size)
    high = max(float(np.quantile(values, 0.99)) for values in finite if values.size)
    return np.linspace(low, high if high > low else low + 1.0, bins + 1)
