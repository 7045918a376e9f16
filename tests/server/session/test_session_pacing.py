"""When a session generates, and what it sends over slow links."""

from __future__ import annotations

import pytest

from rollcast.server.protocol.client_messages import Ack, Pause, Ping, Resume, SceneChange
from rollcast.server.protocol.errors import InvalidField
from rollcast.server.protocol.server_messages import State
from rollcast.server.session.link import Link
from rollcast.server.session.media import VideoFrame

from .session_bench import CHUNK_US, SPEECH, Bench


def test_two_chunks_are_generated_before_the_first_ack_and_no_more() -> None:
    bench = Bench()
    while bench.due():
        bench.step()
        bench.drain()
    assert bench.session.chunks == 2
    bench.now_s += 10
    assert not bench.due()


@pytest.mark.parametrize("seconds", [1, 5, 20])
def test_generation_keeps_pace_with_the_viewer(seconds: float) -> None:
    bench = Bench()
    bench.run(seconds)
    assert bench.session.chunks * CHUNK_US == pytest.approx(seconds * 1e6, abs=2.5 * CHUNK_US)
    assert bench.seqs == list(range(len(bench.seqs)))


def test_the_lead_never_exceeds_two_chunks() -> None:
    bench = Bench()
    for _ in range(40):
        bench.run(0.12)
        lead_us = bench.session.chunks * CHUNK_US - bench.session.position_us(bench.now_s)
        assert lead_us <= 2 * CHUNK_US + 1


def test_a_client_that_claims_to_play_too_fast_is_served_in_real_time() -> None:
    bench = Bench()
    chunks: list[int] = []
    for _ in range(500):
        while bench.due():
            bench.step()
            bench.drain()
        bench.now_s += 0.04
        bench.say(Ack(playhead_us=2.0**52, last_seq=bench.session.chunks * 4 - 1))
        chunks.append(bench.session.chunks)
    assert (chunks[499] - chunks[249]) * CHUNK_US < 10e6 * 1.05


def test_a_paused_or_detached_stream_wants_no_step() -> None:
    bench = Bench()
    bench.run(1)
    bench.say(Pause(event_id="p"))
    bench.now_s += 1
    assert bench.session.next_step_s(bench.now_s) is None
    bench.say(Resume(event_id="r"))
    bench.run(0.4)
    assert bench.session.chunks * CHUNK_US < 2.2e6
    bench.session.detach(bench.now_s)
    assert bench.session.next_step_s(bench.now_s + 1) is None


def test_the_deadline_is_when_the_viewer_runs_dry() -> None:
    bench = Bench()
    bench.step()
    bench.drain()
    bench.now_s += 0.05
    bench.ack(50_000)
    assert bench.session.deadline_s(bench.now_s) == pytest.approx(bench.now_s + 0.11)


def test_unsent_frames_hold_generation_back() -> None:
    bench = Bench()
    bench.step()
    assert bench.due()
    bench.step()
    assert bench.session.next_step_s(bench.now_s) is None


def test_a_link_that_acknowledges_nothing_gets_no_more_frames() -> None:
    bench = Bench()
    bench.run(2)
    bench.session.receive(Ping(t_ms=0), bench.now_s)
    frames = len(bench.seqs)
    for _ in range(50):
        if bench.due():
            bench.step()
        bench.now_s += 0.1
        bench.session.tick(bench.now_s, 1)
        bench.drain()
    assert len(bench.seqs) - frames <= 16
    assert bench.session.target_kbps < 648


def test_a_viewer_that_recovers_gets_frames_again() -> None:
    bench = Bench()
    bench.run(2)
    bench.step()
    bench.now_s += 3
    bench.drain()
    assert bench.session.skipped_frames == 4
    assert not bench.due()
    bench.run(2)
    lag_us = bench.session.chunks * CHUNK_US - bench.messages(VideoFrame)[-1].pts_us
    assert lag_us <= CHUNK_US


def test_a_viewer_in_slow_motion_gets_fewer_bits_then_fewer_frames() -> None:
    bench = Bench()
    bench.run(1)
    bench.run(6, speed=0.6)
    assert bench.session.target_kbps < 400
    assert bench.session.skipped_frames > 10


def test_a_lead_that_has_grown_goes_with_its_stream_to_another_server() -> None:
    """A viewer whose way is unsteady would stall there once more, and has frames to show by then
    that would be taken for a jam.
    """
    here, there = Bench(), Bench()
    here.run(1)
    here.run(0.4, speed=0.6)
    here.run(1)
    record = here.session.record(here.now_s)
    assert record.extra_lead_us > 0
    there.now_s = here.now_s
    position_us = here.session.position_us(here.now_s)
    there.session.load(record, SPEECH[:0], [], record.frames - 1, there.now_s, position_us)
    there.session.resume(record.frames - 1, audio=True, now_s=there.now_s)
    for each in (here, there):
        each.say(Ack(playhead_us=position_us, last_seq=-1))
    next_s = there.session.next_step_s(there.now_s)
    assert next_s is not None and next_s == here.session.next_step_s(here.now_s)
    assert there.session.record(there.now_s).extra_lead_us == pytest.approx(record.extra_lead_us)


def test_a_decoder_that_cannot_keep_up_gets_every_second_frame() -> None:
    bench = Bench()
    bench.run(1)
    bench.ack(1e6, decode_queue=20)
    bench.step()
    bench.step()
    before = len(bench.seqs)
    bench.drain()
    assert len(bench.seqs) - before == 4


def last_acks(bench: Bench, **fields: int) -> None:
    """Two seconds without a word, then acks that say the same again and again."""
    for _ in range(2):
        bench.step()
    bench.drain()
    bench.now_s += 2.0
    for _ in range(10):
        bench.say(Ack(**{"playhead_us": 280_000.0, **fields}))  # pyright: ignore[reportArgumentType]
        bench.now_s += 0.04


@pytest.mark.parametrize(
    "fields",
    [
        {"last_seq": 7},
        {"last_seq": 6, "dropped": 1},
        {"last_seq": 4, "dropped": 3},
        {"last_seq": 6, "playhead_us": 320_000.0},
        {"last_seq": 3, "dropped": 2, "playhead_us": 320_000.0},
        {"last_seq": 5, "dropped": 1, "playhead_us": 320_000.0},
    ],
)
def test_a_viewer_that_goes_on_gets_frames_again(fields: dict[str, int]) -> None:
    bench = Bench()
    last_acks(bench, **fields)
    assert bench.due()
    bench.step()
    assert [item.seq for item in bench.drain() if isinstance(item, VideoFrame)] == [8, 9, 10, 11]


def test_frames_of_which_nothing_is_ever_said_do_not_stop_a_stream() -> None:
    bench = Bench()
    last_acks(bench, last_seq=6)
    assert not bench.due()
    for _ in range(50):
        bench.say(Ack(playhead_us=280_000.0, last_seq=6))
        bench.now_s += 0.04
    assert bench.due()


def test_a_viewer_that_has_dropped_more_is_believed_each_time() -> None:
    link = Link(max_kbps=600)
    for seq in range(6):
        link.sent(seq, 0.0)
    link.ack(Ack(playhead_us=0, last_seq=2, dropped=2), -1, 1.0)
    assert link.waiting_s(1.0) == 1.0
    link.ack(Ack(playhead_us=0, last_seq=2, dropped=2), -1, 1.1)
    assert link.waiting_s(1.1) == 1.1
    link.ack(Ack(playhead_us=0, last_seq=2, dropped=3), -1, 1.2)
    assert link.waiting_s(1.2) == 0.0


def test_a_client_that_says_nothing_tells_nothing_of_its_link() -> None:
    bench = Bench()
    kbps = bench.session.target_kbps
    for _ in range(2):
        bench.step()
    bench.drain()
    for _ in range(100):
        bench.now_s += 0.1
        bench.session.tick(bench.now_s, 1)
    assert bench.session.target_kbps == kbps


def test_a_skipped_frame_leaves_its_discontinuity_to_the_first_that_is_sent() -> None:
    bench = Bench()
    for _ in range(2):
        bench.step()
    bench.drain()
    bench.say(SceneChange(event_id="s", scene="grid"))
    bench.now_s += 2.0
    bench.step(scene="grid")
    assert not [item for item in bench.drain() if isinstance(item, VideoFrame)]
    bench.say(Ack(playhead_us=320_000, last_seq=7))
    bench.step(scene="grid")
    frames = [item for item in bench.drain() if isinstance(item, VideoFrame)]
    assert [frame.discontinuity for frame in frames] == [True, False, False, False]


def test_talking_does_not_flap_while_playback_stalls_at_any_place() -> None:
    for stall_us in (159_999, 160_000, 240_000, 319_999, 320_000):
        bench = Bench()
        bench.step()
        bench.step(talking=True)
        bench.drain()
        bench.output.clear()
        for _ in range(100):
            bench.now_s += 0.033
            bench.session.tick(bench.now_s, 1)
            bench.say(Ack(playhead_us=min(stall_us, 160_000.0), last_seq=3))
            bench.say(Ack(playhead_us=float(stall_us), last_seq=3))
            bench.session.tick(bench.now_s, 1)
            bench.drain()
        talking = [state.talking for state in bench.messages(State)]
        assert len(talking) - 1 <= 1, (stall_us, talking)
        assert talking[-1]


def test_an_ack_of_a_frame_that_was_never_made_is_refused_whole() -> None:
    bench = Bench()
    bench.step()
    bench.drain()
    with pytest.raises(InvalidField) as caught:
        bench.say(Ack(playhead_us=160_000, last_seq=4))
    assert caught.value.field == "last_seq"
    assert bench.session.position_us(bench.now_s) == 0


def test_a_session_knows_for_how_long_nothing_was_to_be_shown() -> None:
    bench = Bench()
    bench.step()
    session = bench.session
    assert session.still_s(bench.now_s) < 0
    bench.say(Pause(event_id="p"))
    bench.now_s += 2.0
    bench.say(Pause(event_id="q"))
    assert session.still_s(bench.now_s) == 2.0, "paused again is paused still"
    session.detach(bench.now_s)
    bench.now_s += 1.0
    assert session.still_s(bench.now_s) == 3.0
    session.resume(0, audio=True, now_s=bench.now_s)
    bench.say(Resume(event_id="r"))
    assert session.still_s(bench.now_s) < 0
    kept = session.kept_bytes
    bench.step()
    assert session.kept_bytes > kept > 0
