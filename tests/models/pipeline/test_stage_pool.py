"""Who is lost and who only was not heard, with connections in launcher of processes."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest

from rollcast.models.pipeline.control_link import ControlLink, link_to_executor
from rollcast.models.pipeline.launchers import Inheritance
from rollcast.models.pipeline.messages import (
    Beat,
    Broken,
    Close,
    FromStage,
    ModelSpec,
    Ready,
    Restore,
    Setup,
    ToStage,
    Working,
)
from rollcast.models.pipeline.patient_connection import IO_S, as_connection
from rollcast.models.pipeline.stage_pool import Loss, Patience, StagePool

pytestmark = pytest.mark.processes

PATIENCE = Patience(silent_s=0.3, start_silent_s=1.2, late_s=0.5)


class Beside:
    """A launcher whose process is the test; it has come unless it is `late`."""

    def __init__(self, *, late: bool = False) -> None:
        self._ours, self.theirs = Pipe()
        self.late = late
        self.pid = 0

    def launch(self, shared: Inheritance) -> None: ...

    def connect(self) -> Connection | None:
        return None if self.late else self._ours

    def end(self) -> None: ...


class One:
    """A pool of one stage, and that stage's end of the link."""

    def __init__(self, launcher: Beside, patience: Patience = PATIENCE) -> None:
        self.launcher = launcher
        self.pool = StagePool([launcher], ModelSpec("nothing"), patience=patience)
        self.pool.start(None)
        self.stage: ControlLink[ToStage, FromStage] = link_to_executor(launcher.theirs)

    def listen(self, for_s: float) -> Loss | None:
        end_s = time.monotonic() + for_s
        while time.monotonic() < end_s and self.pool.lost() is None:
            self.pool.receive(0.02)
        return self.pool.lost()

    def hear(self, *messages: FromStage) -> Loss | None:
        for message in messages:
            self.stage.send(message)
            self.pool.receive(1.0)
        return self.pool.lost()


@pytest.fixture
def one() -> Iterator[One]:
    one = One(Beside())
    yield one
    one.pool.stop()
    one.launcher.theirs.close()


def detail(loss: Loss | None) -> str:
    return "" if loss is None else loss.detail


def test_a_stage_that_falls_silent_is_lost_but_not_while_nobody_listens(one: One) -> None:
    assert one.listen(2 * PATIENCE.silent_s) is None, "it may take long to start"
    assert Patience().start_silent_s > 10
    one.hear(Ready())
    time.sleep(2 * PATIENCE.silent_s)
    begin_s = time.monotonic()
    one.pool.receive(0.0)
    assert one.pool.lost() is None, "we were the ones who did not listen"
    loss = one.listen(60)
    assert loss is not None and loss.cause == "hung"
    assert "stage 0 has been silent" in loss.detail
    assert time.monotonic() - begin_s >= PATIENCE.silent_s
    assert one.hear(Beat(0.0)) is loss, "once told, it stays lost"


def test_a_start_may_take_longer_than_the_last_one_but_not_for_ever() -> None:
    patience = Patience(start_s=600.0, restart_s=60.0)
    limits = [patience.start_limit_s(last) for last in (None, 5.0, 30.0, 500.0)]
    assert limits == [600.0, 60.0, 150.0, 600.0]


def test_a_heart_that_beats_saves_no_start_that_never_ends() -> None:
    begin_s = time.monotonic()
    one = One(Beside(), Patience(start_s=0.4))
    while (loss := one.hear(Beat(0.0))) is None:
        time.sleep(0.02)
    assert loss.cause == "hung" and "is not ready" in loss.detail
    assert time.monotonic() - begin_s >= 0.4
    one.pool.stop()


def test_a_piece_of_work_may_take_as_long_as_others_did_and_a_little_more(one: One) -> None:
    one.hear(Ready())
    one.pool.worked(2.0)
    for busy_s, lost in ((1.0, False), (2.45, False), (2.55, True)):
        assert (one.hear(Beat(busy_s)) is not None) == lost, busy_s
    assert "hangs in a piece of work" in detail(one.pool.lost())
    for _ in range(100):
        one.pool.worked(0.1)
    assert one.pool.longest_part_s == 0.1


def test_a_stage_that_closes_its_connection_is_dead(one: One) -> None:
    one.launcher.theirs.close()
    loss = one.listen(60)
    assert loss is not None
    assert (loss.cause, loss.detail) == ("died", "stage 0 died")
    one.pool.send(0, Close("a.0"))


def test_a_loss_names_what_the_stage_was_at_work_for(one: One) -> None:
    """Whether it said so itself, or died without another word."""
    one.hear(Ready(), Working("a.0", 3), Working(), Working("b.1", 4))
    one.launcher.theirs.close()
    loss = one.listen(60)
    assert loss is not None
    assert (loss.stream, loss.index, loss.broken) == ("b.1", 4, None)


def test_a_loss_while_a_stage_waits_is_nobodys_fault(one: One) -> None:
    one.hear(Ready(), Working("a.0", 3), Working())
    one.launcher.theirs.close()
    loss = one.listen(60)
    assert loss is not None and loss.stream is None


def test_what_a_broken_stage_says_of_itself_counts(one: One) -> None:
    loss = one.hear(Ready(), Working("a.0", 3), Broken("Error: so", "trace", None, None))
    assert loss is not None
    assert (loss.cause, loss.detail) == ("failed", "stage 0 failed: Error: so")
    assert loss.stream is None, "it does not think that this chunk is at fault"


def test_nonsense_is_a_loss(one: One) -> None:
    one.launcher.theirs.send_bytes(b"\x80\x04nonsense")
    one.pool.receive(1.0)
    loss = one.pool.lost()
    assert loss is not None and loss.cause == "failed" and "sent nonsense" in loss.detail


def test_a_stage_that_takes_no_messages_holds_nobody_up() -> None:
    """Its end of the socket is full: the executor waits a moment and gives it up."""
    ours, theirs = socket.socketpair()
    launcher = Beside()
    launcher._ours = as_connection(ours)
    one = One(launcher)
    begin_s = time.monotonic()
    with theirs:
        for _ in range(10):
            one.pool.send(0, Restore("a.0", 0, {"prepare": memoryview(bytes(1 << 20))}))
        loss = one.pool.lost()
        assert loss is not None
        assert (loss.cause, loss.detail) == ("hung", "stage 0 takes no messages")
        assert time.monotonic() - begin_s < 4 * IO_S, "nor is it tried again and again"
        one.pool.stop()


def test_one_that_comes_later_is_set_up_then() -> None:
    launcher = Beside(late=True)
    one = One(launcher)
    assert one.listen(0.2) is None
    assert not launcher.theirs.poll(0)
    launcher.late = False
    one.pool.receive(0.0)
    assert isinstance(one.stage.receive(), Setup)
    assert one.hear(Ready()) is None
    one.pool.stop()


def test_one_that_never_comes_is_lost_and_is_not_waited_for() -> None:
    one = One(Beside(late=True))
    begin_s = time.monotonic()
    one.pool.receive(0.5)
    assert time.monotonic() - begin_s < 0.4, "whoever polls can do other things meanwhile"
    assert "did not come within 1.2 s" in detail(one.listen(60))
    one.pool.stop()


def test_stopping_in_the_middle_of_a_start_leaves_nothing() -> None:
    class Full(Beside):
        def launch(self, shared: Inheritance) -> None:
            raise OSError("no room for another process")

    first = Beside()
    pool = StagePool([first, Full()], ModelSpec("nothing"))
    with pytest.raises(OSError, match="no room"):
        pool.start(None)
    assert pool.arena is not None
    pool.stop()
    pool.stop()
    assert pool.arena is None
