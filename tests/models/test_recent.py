"""Recent results: made once, and few."""

from __future__ import annotations

from rollcast.models.recent import Recent


def test_a_value_is_made_once_while_it_is_kept() -> None:
    made: list[int] = []
    recent: Recent[int, int] = Recent(2)

    def ask(key: int) -> int:
        def make() -> int:
            made.append(key)
            return 10 * key

        return recent.get(key, make)

    assert [ask(k) for k in (1, 2, 1, 3, 1, 2)] == [10, 20, 10, 30, 10, 20]
    assert made == [1, 2, 3, 2]
