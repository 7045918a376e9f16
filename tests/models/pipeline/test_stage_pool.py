"""Who is lost and who only was not heard, with connections in place of processes."""

from __future__ import annotations

import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from rollcast.models.pipeline.messages import Beat, ModelSpec, Ready
from rollcast.models.pipeline.stage_pool import SILENT_S, START_SILENT_S, StagePool


class Beside:
    """A place whose process is the test."""

    def __init__(self) -> None:
        self._ours, self.theirs = Pipe()
        self.pid = 0

    def launch(self) -> None: ...

    def connect(self) -> Connection:
        return self._ours

    def end(self) -> None: ...


def crew_of_one() -> tuple[StagePool, Connection]:
    place = Beside()
    pool = StagePool([place], ModelSpec("nothing"))
    pool.start()
    return pool, place.theirs


def listen(pool: StagePool, for_s: float) -> str | None:
    end_s = time.monotonic() + for_s
    while time.monotonic() < end_s and pool.lost() is None:
        pool.receive(0.02)
    return pool.lost()


def test_a_stage_that_falls_silent_is_lost_but_not_while_nobody_listens() -> None:
    pool, stage = crew_of_one()
    assert listen(pool, 2 * SILENT_S) is None, "it may take long to start"
    assert START_SILENT_S > 10
    stage.send(Ready(None, None))
    pool.receive(1.0)
    time.sleep(2 * SILENT_S)
    pool.receive(0.0)
    assert pool.lost() is None, "we were the ones who did not listen"
    begin_s = time.monotonic()
    assert "stage 0 has been silent" in (listen(pool, 60) or "")
    assert time.monotonic() - begin_s >= SILENT_S - 0.1
    stage.send(Beat(0.0))
    pool.receive(1.0)
    assert "stage 0 has been silent" in (pool.lost() or ""), "once told, it stays lost"
    pool.stop()


def test_a_piece_of_work_may_take_as_long_as_others_did_and_a_little_more() -> None:
    pool, stage = crew_of_one()
    stage.send(Ready(None, None))
    pool.worked(2.0)
    for busy_s, lost in ((1.0, False), (2.0 + 0.9 * SILENT_S, False), (2.1 + SILENT_S, True)):
        stage.send(Beat(busy_s))
        while pool.receive(0.0):
            pass
        assert (pool.lost() is not None) == lost, busy_s
    assert "hangs in one piece of work" in (pool.lost() or "")
    for _ in range(100):
        pool.worked(0.1)
    assert pool.longest_part_s == 0.1
    pool.stop()


def test_a_stage_that_closes_its_connection_is_dead() -> None:
    pool, stage = crew_of_one()
    stage.close()
    assert listen(pool, 60) == "stage 0 died"
    pool.send(0, Ready(None, None))  # type: ignore[arg-type]
    pool.stop()
