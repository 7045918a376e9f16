"""Charts: what is drawn stands where its value is."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from rollcast.benchmarks.chart import (
    Bars,
    Line,
    Lines,
    draw,
)


def parsed(*panels: Lines | Bars) -> ElementTree.Element:
    return ElementTree.fromstring(draw(panels))


def test_a_line_goes_through_its_points() -> None:
    line = Line("a", ((0.0, 0.0), (1.0, 10.0), (2.0, 5.0)))
    (drawn,) = parsed(Lines("title", "x", (line,))).findall(".//{*}polyline")
    points = [tuple(map(float, pair.split(","))) for pair in drawn.attrib["points"].split()]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1) and x1 > x0
    assert y0 - y2 == pytest.approx((y0 - y1) / 2, abs=0.2) and y1 < y0


def test_bars_are_as_high_as_their_values_and_what_is_missing_has_none() -> None:
    groups = (("g", (1.0, None)), ("h", (2.0, 0.5)))
    root = parsed(Bars("title", ("a", "b"), groups))
    bars = root.findall(".//{*}g/{*}rect")
    heights = [float(bar.attrib["height"]) for bar in bars]
    assert len(heights) == 3
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2)
    assert heights[2] == pytest.approx(heights[0] / 2, abs=0.2)


def test_a_name_has_one_colour_in_all_panels_and_one_legend() -> None:
    panel = Lines("t", "x", (Line("b & c", ((0, 0), (1, 1))), Line("d", ((0, 1), (1, 0)))))
    root = parsed(panel, panel)
    strokes = [line.attrib["stroke"] for line in root.findall(".//{*}polyline")]
    assert strokes[:2] == strokes[2:] and strokes[0] != strokes[1]
    assert [t.text for t in root.findall("./{*}text")] == ["b & c", "d"]


def test_a_constant_is_drawn_and_nothing_is_refused() -> None:
    assert parsed(Lines("t", "x", (Line("a", ((0, 3), (1, 3))),), from_zero=False)) is not None
    with pytest.raises(ValueError, match="no panels"):
        draw([])
    with pytest.raises(ValueError, match="t: no points"):
        draw([Lines("t", "x", ())])
