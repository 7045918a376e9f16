"""What a student is told of pointer and camera, against the published live server and by rule."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from rollcast.models.contract import CameraMotion, Controls, TrackEvent
from rollcast.models.wan.handle_grid import Change, HandleGrid, Sample, grid_points, nearest_point
from rollcast.models.wan.track_map import nearest_cell_track_map
from rollcast.models.wan.tracks.track_control import (
    EXTRA_POINTS,
    GRID,
    RADIUS,
    ToldTracks,
    TrackControl,
    TrackState,
)

SIZE, FPS, PICTURES = (832, 480), 16, 12
PAN = CameraMotion((0.1, 0.0, 0.0))


def advance(
    control: TrackControl,
    state: TrackState,
    *events: TrackEvent,
    pictures: int = PICTURES,
    **more: object,
) -> ToldTracks:
    control.obey(state, Controls(tracks=events, **more))  # type: ignore[arg-type]
    return control.advance(state, pictures)


def begun(seed: int = 3, **options: int) -> tuple[TrackControl, TrackState]:
    """A stream behind its first picture."""
    control = TrackControl(SIZE, FPS, **options)
    state = control.start(seed)
    told = advance(control, state, pictures=1)
    assert told.points.shape == (1, 0, 2)
    return control, state


def down(key: int, x: float, y: float) -> TrackEvent:
    return TrackEvent(key, "down", x, y)


def move(key: int, x: float, y: float) -> TrackEvent:
    return TrackEvent(key, "move", x, y)


def test_a_drag_is_what_the_published_server_makes_of_it() -> None:
    """The same points to the last bit, of which the kept and displaced ones are told."""
    control, state = begun()
    grid = HandleGrid({}, radius=RADIUS, size=GRID)
    grid.ask(Change(1, add={"00001": (0.31, 0.42), "00002": (0.4, 0.5)}), 0.0)
    told = advance(control, state, down(1, 0.31, 0.42), down(2, 0.4, 0.5))
    grid.render(PICTURES, start_ms=0.0, end_ms=1.0)
    assert told.ids.shape == (0,), "nothing is displaced yet"
    ways = [{1: (0.5, 0.4), 2: (0.6, 0.9)}, {1: (0.55, 0.1)}, {}]
    kept = np.zeros(GRID * GRID, np.float32)
    kept[state.extra] = 1.0
    for name in ("00001", "00002"):
        kept[grid.nearest(grid.handles[name].anchor)] = 1.0
    for number, way in enumerate(ways):
        samples = tuple(Sample(f"{key:05d}", point, 1.0) for key, point in way.items())
        grid.ask(Change(number + 2, samples=samples), 0.0)
        wanted = grid.render(PICTURES, start_ms=0.0, end_ms=1.0)
        told = advance(control, state, *(move(key, *point) for key, point in way.items()))
        visibility = wanted.visibility * kept
        some = visibility.any(axis=0)
        assert 2 <= some.sum() <= EXTRA_POINTS + 2
        assert np.array_equal(told.points.numpy(), wanted.points[:, some])
        assert np.array_equal(told.visibility.numpy(), visibility[:, some])
        assert told.ids.tolist() == state.identities.ids[some].tolist()


def test_the_map_is_that_of_all_points() -> None:
    """Leaving out whom nobody sees changes no bit of the map."""
    control, state = begun()
    grid = HandleGrid({"00001": (0.31, 0.42)}, radius=RADIUS, size=GRID)
    grid.ask(Change(1, samples=(Sample("00001", (0.7, 0.6), 1.0),)), 0.0)
    whole = grid.render(PICTURES, start_ms=0.0, end_ms=1.0)
    kept = np.zeros(GRID * GRID, np.float32)
    kept[[*state.extra, grid.nearest((0.31, 0.42))]] = 1.0
    told = advance(control, state, down(1, 0.31, 0.42), move(1, 0.7, 0.6))
    shape = {"rows": 60, "columns": 104, "dim": 64}
    made = nearest_cell_track_map(told.points, told.visibility, told.ids, **shape)
    wanted = nearest_cell_track_map(
        torch.from_numpy(whole.points),
        torch.from_numpy(whole.visibility * kept),
        torch.from_numpy(state.identities.ids),
        **shape,
    )
    assert torch.equal(made, wanted) and made.any()


def test_nothing_told_is_an_empty_map() -> None:
    control, state = begun()
    told = advance(control, state)
    made = nearest_cell_track_map(told.points, told.visibility, told.ids, rows=6, columns=8, dim=64)
    assert made.shape == (PICTURES, 64, 6, 8) and not made.any()


def test_press_hold_and_release() -> None:
    control, state = begun()
    assert not advance(control, state, down(5, 0.5, 0.5)).visibility.any()
    told = advance(control, state, move(5, 0.7, 0.5))
    here = told.ids.tolist().index(
        int(state.identities.ids[nearest_point(grid_points(GRID), (0.5, 0.5))])
    )
    assert told.visibility[0, here] == 0.0, "the first picture shows where it was"
    assert (told.visibility[1:, here] == 1.0).all()
    held = advance(control, state)
    assert (held.visibility == 1.0).all()
    assert (held.points == told.points[-1]).all()
    assert not advance(control, state, TrackEvent(5, "up", 0.7, 0.5)).visibility.any()


@pytest.mark.parametrize("clear", [None, (5,)])
def test_clearing_releases_too(clear: tuple[int, ...] | None) -> None:
    control, state = begun()
    advance(control, state, down(5, 0.5, 0.5), move(5, 0.7, 0.5))
    told = advance(control, state, clear_tracks=clear)
    assert not told.visibility.any()
    # and acts before what comes with it
    told = advance(control, state, down(5, 0.2, 0.5), move(5, 0.3, 0.5), clear_tracks=clear)
    assert told.visibility.any()


def test_an_anchor_holds_what_is_under_it() -> None:
    control, state = begun()
    grid = grid_points(GRID)
    pin = (float(grid[1020, 0]), float(grid[1020, 1]))
    beside = (pin[0] + 0.08, pin[1])
    told = advance(control, state, TrackEvent(1, "anchor", *pin))
    here = told.ids.tolist().index(int(state.identities.ids[1020]))
    assert (told.visibility[:, here] == 1.0).all(), "it is seen although it does not move"
    assert (told.points[:, here] == torch.from_numpy(grid[1020])).all()
    told = advance(control, state, down(2, *beside), move(2, 0.9, 0.9))
    here = told.ids.tolist().index(int(state.identities.ids[1020]))
    assert (told.points[:, here] == torch.from_numpy(grid[1020])).all(), "whatever pulls beside it"
    told = advance(control, state, move(1, 0.1, 0.2))
    here = told.ids.tolist().index(int(state.identities.ids[1020]))
    assert told.points[-1, here].tolist() == pytest.approx([0.1, 0.2], abs=1e-6)


def test_a_pan_is_told_by_the_extra_points() -> None:
    control, state = begun()
    told = advance(control, state, camera=PAN)
    grid = grid_points(GRID)
    ids = state.identities.ids
    assert 0 < told.ids.shape[0] <= EXTRA_POINTS
    places = {int(ids[k]): grid[k] for k in state.extra}
    for column, key in enumerate(told.ids.tolist()):
        x, y = places[key]
        wanted = x - 0.1 * np.arange(1, PICTURES + 1) / FPS
        seen = wanted >= 0.0
        assert np.array_equal(told.visibility[:, column].numpy() == 1.0, seen)
        np.testing.assert_allclose(told.points[seen, column, 0], wanted[seen], atol=1e-6)
        np.testing.assert_allclose(told.points[:, column, 1], y, atol=1e-6)
    # it goes on without being told again, until it is told to stop
    further = advance(control, state)
    kept = [k for k in further.ids.tolist() if k in places]
    assert 0 < len(kept) < EXTRA_POINTS, "a quarter has begun anew"
    for key in kept:
        column, x = further.ids.tolist().index(key), places[key][0]
        wanted = x - 0.1 * np.arange(PICTURES + 1, 2 * PICTURES + 1) / FPS
        np.testing.assert_allclose(
            further.points[wanted >= 0, column, 0], wanted[wanted >= 0], atol=1e-6
        )
    advance(control, state, camera=CameraMotion())
    for _ in range(4):
        told = advance(control, state)
    assert not told.visibility.any(), "once everybody is back nothing is said any more"


def test_a_drag_wins_near_its_handle() -> None:
    control, state = begun(extra_points=GRID * GRID)
    still, other = begun(extra_points=GRID * GRID)
    drag = (down(1, 0.5, 0.5), move(1, 0.7, 0.6))
    both = advance(control, state, *drag, camera=PAN)
    alone = advance(still, other, *drag)
    drawn = {int(key): alone.points[:, k] for k, key in enumerate(alone.ids)}
    grid, ids = grid_points(GRID), state.identities.ids
    distance = np.linalg.norm(grid - 0.5, axis=1)
    index = {int(key): k for k, key in enumerate(ids)}
    checked = 0
    for column, key in enumerate(both.ids.tolist()):
        point = index[key]
        if distance[point] < RADIUS - 1e-3:
            assert torch.equal(both.points[:, column], drawn[key])
            checked += 1
        elif distance[point] > RADIUS:
            assert key not in drawn
    assert checked > 100


def test_who_is_pulled_while_the_camera_moved_it_becomes_another_one() -> None:
    control, state = begun(extra_points=GRID * GRID)
    advance(control, state, camera=PAN)
    before = state.identities.ids.copy()
    point = nearest_point(grid_points(GRID), (0.5, 0.5))
    told = advance(control, state, down(1, 0.5, 0.5), move(1, 0.6, 0.5))
    assert state.identities.ids[point] != before[point]
    column = told.ids.tolist().index(int(state.identities.ids[point]))
    np.testing.assert_allclose(told.points[0, column], grid_points(GRID)[point], atol=1e-6)


def test_the_seed_decides_who_is_told_of() -> None:
    (control, state), (_, same), (_, other) = begun(3), begun(3), begun(4)
    made = [advance(control, each, camera=PAN) for each in (state, same, other)]
    assert torch.equal(made[0].ids, made[1].ids) and torch.equal(made[0].points, made[1].points)
    assert made[0].ids.tolist() != made[2].ids.tolist()


def test_a_saved_stream_goes_on() -> None:
    control, state = begun()
    log = [
        Controls(tracks=(down(1, 0.5, 0.5), move(1, 0.6, 0.7)), camera=PAN),
        Controls(tracks=(TrackEvent(2, "anchor", 0.2, 0.2),)),
        Controls(tracks=(move(1, 0.3, 0.3),)),
        Controls(camera=CameraMotion((0.0, 0.0, 0.3), (0.0, 0.0, 9.0))),
        Controls(tracks=(TrackEvent(1, "up", 0.3, 0.3),)),
        Controls(),
        Controls(),
    ]
    for cut in range(len(log)):
        saved = {name: tensor.clone() for name, tensor in state.tensors().items()}
        other = control.restore(saved, json.loads(json.dumps(state.metadata())))
        for controls in log[cut:]:
            control.obey(other, controls)
            last = control.advance(other, PICTURES)
        control.obey(state, log[cut])
        control.advance(state, PICTURES)
        if cut == 0:
            wanted = last
        assert torch.equal(last.points, wanted.points) and torch.equal(last.ids, wanted.ids)
        assert torch.equal(last.visibility, wanted.visibility)


def test_events_of_a_first_picture_are_told_with_the_next_chunk() -> None:
    control = TrackControl(SIZE, FPS)
    state = control.start(0)
    told = advance(control, state, down(1, 0.5, 0.5), move(1, 0.7, 0.5), pictures=1, camera=PAN)
    assert not told.visibility.any()
    assert advance(control, state).visibility.any()
