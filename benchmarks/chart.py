"""Charts as SVG: lines and bars in panels, in colours that can be read on light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_INK = "#7d8590"
_COLOURS = ("#3b82f6", "#e8590c", "#2f9e44", "#ae3ec9", "#0c8599", "#c2255c", "#8f6b00", "#5c7cfa")
_WIDTH, _HEIGHT = 400, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 34, 40
_LEGEND_ROW = 20
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Line:
    """Points (x, y), from left to right."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """A panel of lines. Its y axis begins at 0 if `from_zero`."""

    title: str
    x_label: str
    lines: tuple[Line, ...]
    from_zero: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """For the legend."""
        return tuple(line.name for line in self.lines)


@dataclass(frozen=True, slots=True)
class Bars:
    """A panel of bars from 0: for each of `groups` one value of each of `names`; None: no bar."""

    title: str
    names: tuple[str, ...]
    groups: tuple[tuple[str, tuple[float | None, ...]], ...]


Panel = Lines | Bars


def draw(panels: Sequence[Panel], columns: int = 2) -> str:
    """An SVG of all panels, under one legend of all their names.

    Raises ValueError when there is nothing to draw.
    """
    if not panels:
        raise ValueError("no panels to draw")
    names = list(dict.fromkeys(name for panel in panels for name in panel.names))
    colour = {name: _COLOURS[k % len(_COLOURS)] for k, name in enumerate(names)}
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    width = columns * _WIDTH
    legend, legend_height = _legend(names, colour, width)
    body = [legend]
    for k, panel in enumerate(panels):
        x, y = (k % columns) * _WIDTH, legend_height + k // columns * _HEIGHT
        drawn = _lines(panel, colour) if isinstance(panel, Lines) else _bars(panel, colour)
        title = _text(_WIDTH / 2, 20, panel.title, "middle", "bold")
        body.append(f'<g transform="translate({x} {y})">{title}{drawn}</g>')
    height = legend_height + rows * _HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="system-ui, sans-serif" font-size="12">'
        + "\n".join(body)
        + "</svg>\n"
    )


def _legend(names: Sequence[str], colour: dict[str, str], width: int) -> tuple[str, int]:
    """The legend and its height; one name needs none."""
    if len(names) < 2:
        return "", 0
    parts, x, row = [], 12, 0
    for name in names:
        needed = 30 + 7 * len(name)
        if x + needed > width and x > 12:
            x, row = 12, row + 1
        y = 8 + row * _LEGEND_ROW
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{colour[name]}"/>')
        parts.append(_text(x + 17, y + 10, name, "start"))
        x += needed
    return "".join(parts), (row + 1) * _LEGEND_ROW + 8


def _lines(panel: Lines, colour: dict[str, str]) -> str:
    points = [point for line in panel.lines for point in line.points]
    if not points:
        raise ValueError(f"{panel.title}: no points to draw")
    across = _Axis.around([x for x, _ in points], _LEFT, _WIDTH - _RIGHT, tight=True)
    values = [y for _, y in points] + ([0.0] if panel.from_zero else [])
    up = _Axis.around(values, _HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(up)]
    for tick in across.ticks:
        parts.append(_text(across.place(tick), _HEIGHT - _BOTTOM + 16, _number(tick), "middle"))
    parts.append(_text((_LEFT + _WIDTH) / 2, _HEIGHT - 6, panel.x_label, "middle"))
    for line in panel.lines:
        path = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in line.points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour[line.name]}" '
            'stroke-width="1.8" stroke-linejoin="round"/>'
        )
    return "".join(parts)


def _bars(panel: Bars, colour: dict[str, str]) -> str:
    known = [v for _, values in panel.groups for v in values if v is not None]
    up = _Axis.around([0.0, *known], _HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(up)]
    group_width = (_WIDTH - _LEFT - _RIGHT) / max(1, len(panel.groups))
    bar_width = 0.8 * group_width / max(1, len(panel.names))
    for k, (name, values) in enumerate(panel.groups):
        left = _LEFT + k * group_width + 0.1 * group_width
        label = left + 0.4 * group_width
        parts.append(_text(label, _HEIGHT - _BOTTOM + 16, name, "middle"))
        for n, value in enumerate(values):
            if value is None:
                continue
            top, bottom = sorted((up.place(value), up.place(0.0)))
            parts.append(
                f'<rect x="{left + n * bar_width:.1f}" y="{top:.1f}" '
                f'width="{0.92 * bar_width:.1f}" height="{bottom - top:.1f}" '
                f'fill="{colour[panel.names[n]]}"/>'
            )
    return "".join(parts)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values `low`..`high` at pixels `begin`..`end`, marked at `ticks`."""

    low: float
    high: float
    begin: float
    end: float
    ticks: tuple[float, ...]

    @classmethod
    def around(
        cls, values: Sequence[float], begin: float, end: float, *, tight: bool = False
    ) -> _Axis:
        """An axis that holds all `values`; if not `tight`, from tick to tick."""
        low, high = min(values), max(values)
        if high <= low:
            low, high = low - 0.5, high + 0.5
        size = _step((high - low) / _TICKS)
        first, last = math.floor(low / size + 1e-9), math.ceil(high / size - 1e-9)
        ticks = tuple(round(k * size, 10) for k in range(first, last + 1))
        if tight:
            return cls(low, high, begin, end, tuple(t for t in ticks if low <= t <= high))
        return cls(ticks[0], ticks[-1], begin, end, ticks)

    def place(self, value: float) -> float:
        """The pixel of a value."""
        return self.begin + (value - self.low) / (self.high - self.low) * (self.end - self.begin)


def _step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least this."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(k * power for k in (1, 2, 5, 10) if k * power >= least * (1 - 1e-9))


def _frame(up: _Axis) -> str:
    parts = []
    for tick in up.ticks:
        y = up.place(tick)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" '
            f'stroke="{_INK}" stroke-opacity="{0.8 if tick == 0 else 0.25}"/>'
        )
        parts.append(_text(_LEFT - 6, y + 4, _number(tick), "end"))
    return "".join(parts)


def _number(value: float) -> str:
    return f"{value:g}"


def _text(x: float, y: float, text: str, anchor: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{_INK}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(text)}</text>'
    )
