"""What a session says before it fails reaches the client; what it shows after that does not."""

from rollcast.server.protocol.errors import InvalidField, RateLimited, Timeout
from rollcast.server.protocol.server_messages import Rejected

from .session_bench import Bench


def test_refusals_that_wait_are_said_before_the_failure_and_nothing_after_it() -> None:
    bench = Bench()
    bench.step()
    session = bench.session
    for number in range(3):
        session.refuse(InvalidField("no", event_id=f"e{number}"))
    session.refuse(RateLimited("too many", fatal=True, retry_after_s=5.0))
    session.refuse(InvalidField("no", event_id="late"))
    session.fail(Timeout("a second failure changes nothing"))
    left = list(iter(lambda: session.next_output(bench.now_s), None))
    rejected = [item.event_id for item in left if isinstance(item, Rejected)]
    assert rejected == ["e0", "e1", "e2"]
    assert isinstance(session.failure, RateLimited) and session.failure.retry_after_s == 5.0
    assert all(not hasattr(item, "rgb") for item in left), "no media any more"


def test_a_connection_that_failed_leaves_its_stream_to_be_resumed() -> None:
    for error, ends in ((RateLimited("x", fatal=True), False), (Timeout("x"), False)):
        bench = Bench()
        bench.session.fail(error)
        assert error.ends_stream is ends
        bench.session.detach(bench.now_s)
        assert bench.session.failure is None
