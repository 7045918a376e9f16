"""Charts as SVG: lines and bars in panels, in colours that can be read on light and dark."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK = "#7d8590"
_COLOURS = ("#3b82f6", "#e8590c", "#2f9e44", "#ae3ec9", "#0c8599", "#c2255c", "#8f6b00", "#5c7cfa")
# inches of 72 points
_WIDTH, _HEIGHT, _LEGEND = 5.2, 3.4, 0.35
_STYLE: dict[Any, object] = {
    "axes.edgecolor": _INK,
    "axes.grid": True,
    "axes.labelcolor": _INK,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": _INK,
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "font.family": "sans-serif",
    "grid.alpha": 0.25,
    "grid.color": _INK,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "lines.linewidth": 1.6,
    # whoever shows it has fonts, and the same figures are to give the same file
    "svg.fonttype": "none",
    "svg.hashsalt": "rollcast",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "ytick.left": False,
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@dataclass(frozen=True, slots=True)
class Line:
    """Points (x, y), from left to right."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """A panel of lines. If `from_zero`, its y axis begins at 0 unless a value is below."""

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

    Raises ValueError when there is nothing to draw, ModuleNotFoundError without matplotlib.
    """
    if not panels:
        raise ValueError("no panels to draw")
    for panel in panels:
        if isinstance(panel, Lines) and not any(line.points for line in panel.lines):
            raise ValueError(f"{panel.title}: no points to draw")
    try:
        # only who draws needs it
        from matplotlib import rc_context
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "plots need matplotlib: pip install 'rollcast[plot]'", name=error.name
        ) from error
    text = io.StringIO()
    with rc_context(_STYLE):
        figure = _figure(panels, min(columns, len(panels)))
        figure.savefig(text, format="svg", transparent=True, metadata=_NO_METADATA)
    return text.getvalue()


def _figure(panels: Sequence[Panel], columns: int) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    names = list(dict.fromkeys(name for panel in panels for name in panel.names))
    colour = {name: _COLOURS[k % len(_COLOURS)] for k, name in enumerate(names)}
    rows = math.ceil(len(panels) / columns)
    # one name needs no legend
    legend = _LEGEND if len(names) > 1 else 0.0
    figure = Figure(figsize=(columns * _WIDTH, rows * _HEIGHT + legend), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flat
    for panel, axis in zip(panels, axes, strict=False):
        axis.set_title(panel.title)
        if isinstance(panel, Lines):
            _lines(axis, panel, colour)
        else:
            _bars(axis, panel, colour)
    for axis in axes[len(panels) :]:
        axis.remove()
    if legend:
        handles = [Patch(color=colour[name], label=name) for name in names]
        figure.legend(handles=handles, loc="outside upper left", ncols=2 * columns)
    return figure


def _lines(axis: Axes, panel: Lines, colour: dict[str, str]) -> None:
    for line in panel.lines:
        axis.plot(*zip(*line.points, strict=True), color=colour[line.name])
    axis.set_xlabel(panel.x_label)
    axis.margins(x=0)
    if panel.from_zero and all(y >= 0 for line in panel.lines for _, y in line.points):
        axis.set_ylim(bottom=0)


def _bars(axis: Axes, panel: Bars, colour: dict[str, str]) -> None:
    width = 0.8 / max(1, len(panel.names))
    for n, name in enumerate(panel.names):
        values = [values[n] for _, values in panel.groups]
        known = {g - 0.4 + n * width: v for g, v in enumerate(values) if v is not None}
        axis.bar(list(known), list(known.values()), 0.92 * width, align="edge", color=colour[name])
    axis.set_xticks(range(len(panel.groups)), [group for group, _ in panel.groups])
    axis.grid(False, axis="x")
