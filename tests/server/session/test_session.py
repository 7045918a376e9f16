"""What the client is told, and what outlives a connection."""

from __future__ import annotations

import pytest

from rollcast.server.protocol.client_messages import KeyRequest, Ping
from rollcast.server.protocol.errors import (
    Capacity,
    InvalidField,
    StreamError,
    Timeout,
    WrongResumeToken,
)
from rollcast.server.protocol.server_messages import Applied, Pong, Stats
from rollcast.server.session.media import AudioPiece, VideoFrame

from .session_bench import SPEECH, Bench, prompt


def test_ping_is_answered_with_the_servers_clock() -> None:
    bench = Bench()
    bench.say(Ping(t_ms=5))
    bench.drain()
    assert bench.messages(Pong) == [Pong(t_ms=5, server_ms=100_000)]


def test_stats_come_once_a_second() -> None:
    bench = Bench()
    for _ in range(50):
        bench.run(0.08)
        bench.session.tick(bench.now_s, 3)
    bench.drain()
    stats = bench.messages(Stats)
    assert 3 <= len(stats) <= 4
    assert stats[-1].fps == pytest.approx(25, abs=3)
    assert (stats[-1].chunk_time_ms, stats[-1].rtf) == (10, 0.0625)
    assert stats[-1].sessions == 3 and stats[-1].kbps > 0


def test_a_key_request_is_taken_once() -> None:
    bench = Bench()
    assert bench.session.take_key_request()
    assert not bench.session.take_key_request()
    bench.say(KeyRequest())
    assert bench.session.take_key_request()


def test_a_client_that_reads_nothing_is_given_up() -> None:
    bench = Bench()
    for number in range(600):
        bench.say(Ping(t_ms=number))
    assert isinstance(bench.session.failure, Timeout)


def test_a_silent_client_is_given_up() -> None:
    bench = Bench(idle_timeout_s=5.0)
    bench.now_s += 4
    bench.session.tick(bench.now_s, 1)
    assert bench.session.failure is None
    bench.now_s += 2
    bench.session.tick(bench.now_s, 1)
    assert isinstance(bench.session.failure, Timeout)


def test_a_fatal_refusal_ends_the_connection() -> None:
    bench = Bench()
    bench.session.refuse(Capacity("full"))
    assert isinstance(bench.session.failure, Capacity)
    assert bench.session.next_step_s(bench.now_s) is None


@pytest.mark.parametrize(("last_seq", "first_audio_us"), [(-1, 0), (3, 160_000), (5, 240_000)])
def test_a_resumed_stream_goes_on_after_the_last_frame_shown(
    last_seq: int, first_audio_us: float
) -> None:
    bench = Bench()
    bench.step(audio=SPEECH)
    bench.step(audio=SPEECH)
    bench.drain()
    bench.session.detach(bench.now_s)
    bench.output.clear()
    next_seq = bench.session.resume(last_seq, audio=True, now_s=bench.now_s)
    bench.drain()
    assert next_seq == last_seq + 1
    assert bench.seqs == list(range(last_seq + 1, 8))
    audio = bench.messages(AudioPiece)
    assert audio[0].pts_us == first_audio_us
    length_us = sum(len(piece.samples) for piece in audio) / 16_000 * 1e6
    assert length_us == 40_000 * len(bench.seqs)
    assert bench.session.take_key_request() and bench.session.generation == 1


def test_a_chunk_that_was_under_way_when_the_connection_broke_is_not_lost() -> None:
    bench = Bench()
    bench.session.begin_step(bench.now_s)
    bench.session.detach(bench.now_s)
    bench.finish()
    assert not bench.drain()
    bench.session.resume(-1, audio=True, now_s=bench.now_s)
    bench.drain()
    assert bench.seqs == [0, 1, 2, 3]


def test_answers_outlive_the_connection_that_asked() -> None:
    bench = Bench()
    bench.say(prompt("a"))
    bench.session.begin_step(bench.now_s)
    bench.session.detach(bench.now_s)
    bench.finish()
    bench.session.resume(-1, audio=True, now_s=bench.now_s)
    bench.drain()
    assert [answer.event_id for answer in bench.messages(Applied)] == ["a"]


def test_frames_older_than_the_ring_are_gone_and_said_so() -> None:
    bench = Bench()
    bench.run(5)
    bench.session.detach(bench.now_s)
    bench.output.clear()
    next_seq = bench.session.resume(3, audio=True, now_s=bench.now_s)
    bench.drain()
    assert next_seq > 4
    assert bench.seqs[0] == next_seq
    assert bench.messages(VideoFrame)[0].discontinuity


@pytest.mark.parametrize(
    ("token", "last_seq", "error"),
    [("guess", 0, WrongResumeToken), ("secrét", 0, WrongResumeToken), ("secret", 4, InvalidField)],
)
def test_a_false_resume_is_refused(token: str, last_seq: int, error: type[StreamError]) -> None:
    bench = Bench()
    bench.step()
    with pytest.raises(error):
        bench.session.check_resume(token, last_seq)
    bench.session.check_resume("secret", 3)


def test_a_stream_expires_after_its_grace_time() -> None:
    bench = Bench(grace_s=30.0)
    assert bench.session.expires_in_s(bench.now_s) is None
    bench.session.detach(bench.now_s)
    assert not bench.session.expired(bench.now_s + 29)
    assert bench.session.expires_in_s(bench.now_s + 29) == pytest.approx(1)
    assert bench.session.expired(bench.now_s + 30)


def test_a_stall_of_the_server_is_not_silence_of_the_client() -> None:
    bench = Bench(idle_timeout_s=5.0)
    begin_s = bench.now_s + 1
    bench.now_s = begin_s + 45
    bench.session.excuse(begin_s, bench.now_s)
    bench.session.tick(bench.now_s, 1)
    assert bench.session.failure is None
    bench.now_s += 5
    bench.session.tick(bench.now_s, 1)
    assert isinstance(bench.session.failure, Timeout)


def test_a_stall_of_the_server_does_not_count_as_grace_time() -> None:
    bench = Bench(grace_s=30.0)
    bench.session.detach(bench.now_s)
    begin_s = bench.now_s + 1
    bench.session.excuse(begin_s, begin_s + 45)
    assert not bench.session.expired(begin_s + 45)
    assert bench.session.expires_in_s(begin_s + 45) == pytest.approx(29)
    bench.session.excuse(begin_s - 3, begin_s - 2)  # over before it was left
    assert bench.session.expires_in_s(begin_s + 45) == pytest.approx(29)
