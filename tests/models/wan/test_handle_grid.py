"""Handles that pull at a grid, point by point and message by message."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from rollcast.models.wan.handle_grid import Change, HandleGrid, Point, Sample


def pulled(grid: np.ndarray, pulls: dict[Point, Point], radius: float) -> np.ndarray:
    """The grid under handles, by anchor: the formula, point by point in float64."""
    made = []
    for x, y in grid.astype(np.float64):
        total, way = 0.0, [0.0, 0.0]
        for anchor, position in pulls.items():
            distance = math.hypot(x - anchor[0], y - anchor[1])
            share = min(distance / radius, 1.0)
            weight = 0.5 * (1 + math.cos(math.pi * share)) if distance < radius else 0.0
            total += weight
            way = [w + weight * (p - a) for w, p, a in zip(way, position, anchor, strict=True)]
        total = max(1.0, total)
        made.append([min(max(v + w / total, 0.0), 1.0) for v, w in zip((x, y), way, strict=True)])
    return np.array(made)


def test_points_are_counted_row_by_row() -> None:
    grid = HandleGrid({}, radius=0.2, size=3).grid
    assert grid.dtype == np.float32
    wanted = [(x / 2, y / 2) for y in range(3) for x in range(3)]
    assert [tuple(point) for point in grid.tolist()] == wanted


def test_several_handles_pull_no_farther_than_one() -> None:
    handles: dict[str, Point] = {"a": (0.3, 0.4), "b": (0.35, 0.45), "c": (0.9, 0.9)}
    grid = HandleGrid(handles, radius=0.4, size=9)
    ends: dict[str, Point] = {"a": (0.5, 0.4), "b": (0.6, 0.7), "c": (1.0, 0.2)}
    samples = tuple(Sample(name, point, 0.0) for name, point in ends.items())
    assert grid.ask(Change(1, samples=samples), now_ms=0.0)
    tracks = grid.render(2, start_ms=0.0, end_ms=100.0)
    wanted = pulled(grid.grid, {handles[name]: ends[name] for name in handles}, 0.4)
    np.testing.assert_allclose(tracks.points[0], wanted, atol=1e-6)
    np.testing.assert_allclose(tracks.points[1], wanted, atol=1e-6)
    moved = np.linalg.norm(wanted - grid.grid, axis=1) > 1e-5
    assert np.array_equal(tracks.visibility[0], moved.astype(np.float32))
    assert tracks.points.dtype == tracks.visibility.dtype == np.float32


def test_a_handle_goes_where_it_was_seen() -> None:
    """Straight from sample to sample, both ends of the block's time among its pictures."""
    grid = HandleGrid({"a": (0.5, 0.5)}, radius=0.3, size=5)
    here = grid.nearest((0.5, 0.5))
    assert here == 12
    samples = (
        Sample("a", (0.7, 0.5), 300.0),
        Sample("a", (0.6, 0.5), 200.0),
        # Too early and too late count at the ends, and at the start in the place of the old one.
        Sample("a", (0.52, 0.5), 50.0),
        Sample("a", (0.8, 0.6), 9000.0),
        Sample("nobody", (0.1, 0.1), 200.0),
    )
    grid.ask(Change(1, samples=samples), now_ms=0.0)
    tracks = grid.render(9, start_ms=100.0, end_ms=500.0)
    times = [100 + 50 * k for k in range(9)]
    x = np.interp(times, [100, 200, 300, 500], [0.52, 0.6, 0.7, 0.8])
    y = np.interp(times, [100, 300, 500], [0.5, 0.5, 0.6])
    np.testing.assert_allclose(tracks.points[:, here], np.stack((x, y), 1), atol=1e-6)
    # It stays there, and nothing pending means nothing moves.
    held = grid.render(4, start_ms=500.0, end_ms=700.0)
    np.testing.assert_allclose(held.points[:, here], [[0.8, 0.6]] * 4, atol=1e-6)


def test_a_sample_without_a_time_has_that_of_its_message() -> None:
    grid = HandleGrid({"a": (0.5, 0.5)}, radius=0.3, size=5)
    grid.ask(Change(1, samples=(Sample("a", (0.7, 0.5)),)), now_ms=200.0)
    tracks = grid.render(5, start_ms=100.0, end_ms=500.0)
    x = np.interp([100, 200, 300, 400, 500], [100, 200], [0.5, 0.7])
    np.testing.assert_allclose(tracks.points[:, 12, 0], x, atol=1e-6)


def test_untouched_and_released_points_are_not_seen() -> None:
    grid = HandleGrid({"a": (0.5, 0.5)}, radius=0.3, size=5)
    assert not grid.hold(3).visibility.any()
    grid.ask(Change(1, samples=(Sample("a", (0.6, 0.5), 0.0),)), 0.0)
    assert grid.render(2, start_ms=0.0, end_ms=10.0).visibility.any()
    grid.ask(Change(2, remove=("a",)), 10.0)
    tracks = grid.render(2, start_ms=10.0, end_ms=20.0)
    assert not tracks.visibility.any()
    np.testing.assert_array_equal(tracks.points[1], grid.grid)


def test_changes_wait_for_the_next_block_and_only_go_forward() -> None:
    grid = HandleGrid({"a": (0.2, 0.2)}, radius=0.3, size=4)
    assert grid.ask(Change(3, radius=0.4), 0.0)
    assert not grid.ask(Change(3, radius=0.1), 0.0)
    assert not grid.ask(Change(2, radius=0.1), 0.0)
    assert grid.ask(Change(7, add={"b": (0.8, 0.8)}), 0.0)
    grid.hold(1)
    assert (grid.radius, grid.applied_revision, sorted(grid.handles)) == (0.3, 0, ["a"])
    grid.render(4, start_ms=0.0, end_ms=10.0)
    assert (grid.radius, grid.applied_revision, sorted(grid.handles)) == (0.4, 7, ["a", "b"])


def test_the_order_inside_a_message() -> None:
    """All handles, then without some, then new ones, then where they are."""
    grid = HandleGrid({"a": (0.2, 0.2), "b": (0.5, 0.5), "c": (0.8, 0.8)}, radius=0.3, size=4)
    grid.ask(Change(1, samples=(Sample("b", (0.6, 0.5), 0.0),)), 0.0)
    grid.render(4, start_ms=0.0, end_ms=10.0)
    grid.ask(
        Change(
            2,
            handles={"a": (0.9, 0.1), "b": (0.9, 0.1), "d": (0.4, 0.1)},
            remove=("a", "d", "nobody"),
            add={"a": (0.1, 0.9)},
            samples=(Sample("a", (0.3, 0.9), 20.0), Sample("c", (0.3, 0.9), 20.0)),
        ),
        10.0,
    )
    grid.render(4, start_ms=10.0, end_ms=20.0)
    assert sorted(grid.handles) == ["a", "b"]
    # One that was known stays where it is, one that is added begins anew.
    assert grid.handles["b"].anchor == (0.5, 0.5)
    assert grid.handles["b"].position == pytest.approx((0.6, 0.5))
    assert grid.handles["a"].anchor == (0.1, 0.9)
    assert grid.handles["a"].position == pytest.approx((0.3, 0.9))


def test_all_of_it_is_in_its_state() -> None:
    grid = HandleGrid({"a": (0.2, 0.2)}, radius=0.3, size=4)
    grid.ask(Change(1, samples=(Sample("a", (0.4, 0.3)),)), 5.0)
    grid.render(4, start_ms=0.0, end_ms=10.0)
    grid.ask(
        Change(
            4, 0.5, {"a": (0.1, 0.1), "x": (0.3, 0.3)}, ("a",), {"y": (0.6, 0.6)},
            (Sample("y", (0.7, 0.7), 12.0), Sample("x", (0.2, 0.3))),
        ),
        11.0,
    )  # fmt: skip
    other = HandleGrid({}, radius=0.1, size=4)
    other.load(json.loads(json.dumps(grid.state())))
    made = [each.render(8, start_ms=10.0, end_ms=20.0) for each in (grid, other)]
    np.testing.assert_array_equal(made[0].points, made[1].points)
    assert grid.state() == other.state()
    assert not other.ask(Change(4), 30.0)


@pytest.mark.parametrize(
    ("handles", "fields", "message"),
    [
        ({}, {"radius": 0.0}, "radius 0.0"),
        ({}, {"radius": 1.5}, "radius 1.5"),
        ({}, {"size": 1}, "at least 2"),
        ({"a": (1.1, 0.0)}, {}, "expected x and y"),
        ({"a": (float("nan"), 0.0)}, {}, "expected x and y"),
    ],
)
def test_what_makes_no_sense(
    handles: dict[str, Point], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        HandleGrid(handles, **({"radius": 0.2, "size": 4} | fields))
    grid = HandleGrid({}, radius=0.2, size=4)
    with pytest.raises(ValueError, match="expected x and y"):
        Change(1, samples=(Sample("a", (0.0, -0.1)),))
    with pytest.raises(ValueError, match="radius"):
        Change(1, radius=-1.0)
    with pytest.raises(ValueError, match="the end behind"):
        grid.render(4, start_ms=2.0, end_ms=1.0)
