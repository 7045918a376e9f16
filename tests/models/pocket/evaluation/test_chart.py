"""Charts: what is drawn stands where its value is."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from rollcast.models.pocket.evaluation.chart import (
    Bars,
    Line,
    Lines,
    draw,
)

BLUE, ORANGE = "#3b82f6", "#e8590c"


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).findall(".//{*}text")]


def paths(svg: str, paint: str) -> list[list[tuple[float, float]]]:
    """Corners of what is painted like this in the panels (a legend has no clip path)."""
    found = []
    for path in ElementTree.fromstring(svg).findall(".//{*}path"):
        if paint in path.attrib.get("style", "") and "clip-path" in path.attrib:
            pairs = re.findall(r"[ML] (\S+) (\S+)", path.attrib["d"])
            found.append([(float(x), float(y)) for x, y in pairs])
    return found


def heights(svg: str, colour: str) -> list[float]:
    """Of the bars of a colour."""
    ups = [[y for _, y in bar] for bar in paths(svg, f"fill: {colour}")]
    return [max(each) - min(each) for each in ups]


def test_a_line_goes_through_its_points() -> None:
    line = Line("a", ((0.0, 0.0), (1.0, 10.0), (2.0, 5.0)))
    (points,) = paths(draw([Lines("title", "x", (line,))]), f"stroke: {BLUE}")
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1) and x1 > x0
    assert y0 - y2 == pytest.approx((y0 - y1) / 2, abs=0.2) and y1 < y0


def test_bars_are_as_high_as_their_values_and_what_is_missing_has_none() -> None:
    groups = (("g", (1.0, None)), ("h", (2.0, 0.5)))
    svg = draw([Bars("title", ("a", "b"), groups)])
    blue, (orange,) = heights(svg, BLUE), heights(svg, ORANGE)
    assert blue[1] == pytest.approx(2 * blue[0], abs=0.2)
    assert orange == pytest.approx(blue[0] / 2, abs=0.2)
    assert {"g", "h"} <= set(texts(svg))


def test_a_name_has_one_colour_in_all_panels_and_one_legend() -> None:
    panel = Lines("t", "x", (Line("b & c", ((0, 0), (1, 1))), Line("d", ((0, 1), (1, 0)))))
    svg = draw([panel, panel])
    assert len(paths(svg, f"stroke: {BLUE}")) == len(paths(svg, f"stroke: {ORANGE}")) == 2
    assert [text for text in texts(svg) if text in {"b & c", "d"}] == ["b & c", "d"]


def test_the_same_figures_give_the_same_file() -> None:
    panel = Lines("t", "x", (Line("a", ((0, 3), (1, 3))),), from_zero=False)
    assert draw([panel]) == draw([panel])


def test_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no panels"):
        draw([])
    with pytest.raises(ValueError, match="t: no points"):
        draw([Lines("t", "x", ())])


def test_without_matplotlib_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'rollcast\[plot\]'"):
        draw([Bars("t", ("a",), (("g", (1.0,)),))])
