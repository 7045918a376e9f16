"""What a comparison leaves to look at."""

import pytest

from training.toy_world.table import rank_correlation, tracking


def test_ranks_alone_count() -> None:
    assert rank_correlation([1.0, 2.0, 30.0], [5.0, 6.0, 7.0]) == pytest.approx(1)
    assert rank_correlation([1.0, 2.0, 30.0], [7.0, 6.0, 5.0]) == pytest.approx(-1)
    assert rank_correlation([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 3.0]) == pytest.approx(0.6)


def test_a_distance_tracks_what_it_orders_alike() -> None:
    rows = [
        {"sliced": k, "fixed_cf": -k, "learned_cf": k % 2, "moves_tv": k, "shape_tv": 0.1 * k}
        for k in range(6)
    ]
    lost = rows[0] | {"sliced": float("nan")}
    found = {row["distance"]: row for row in tracking([*rows, {}, lost])}
    assert found["sliced"]["sum"] == pytest.approx(1)
    assert found["fixed_cf"]["moves_tv"] == pytest.approx(-1)
    assert found["sliced"]["students"] == len(rows)
    assert tracking(rows[:2]) == []
