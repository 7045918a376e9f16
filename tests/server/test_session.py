"""Tables for the session with a fake clock: events in, decisions out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rollcast.models.stream import Chunk, Controls
from rollcast.models.test_pattern import CHUNK_SAMPLES, TestPattern
from rollcast.server.client_messages import (
    Ack,
    AudioClear,
    AudioEnd,
    ClientHello,
    KeyRequest,
    Pause,
    Ping,
    Prompt,
    Reset,
    Resume,
    SceneChange,
    TrackPoint,
    Tracks,
    TracksClear,
)
from rollcast.server.errors import (
    Capacity,
    InvalidField,
    NotSupported,
    OutOfOrder,
    StreamError,
    Timeout,
    WrongResumeToken,
)
from rollcast.server.media import AudioPiece, VideoFrame
from rollcast.server.outbox import Output
from rollcast.server.packets import Flags, Kind, Packet
from rollcast.server.server_messages import Applied, Pong, Rejected, State, Stats
from rollcast.server.session import Session
from rollcast.server.session_options import SessionOptions

INFO = TestPattern().info
CHUNK_US = INFO.chunk_us
SPEECH = np.full(CHUNK_SAMPLES, 5000, np.int16)


class Bench:
    """A session, its clock, and a model that takes no time."""

    def __init__(self, **options: Any) -> None:
        self.now_s = 100.0
        self.session = Session(
            INFO,
            SessionOptions(
                **{
                    "session_id": "s",
                    "resume_token": "secret",
                    "seed": 1,
                    "scene": "bars",
                    "prompt": "a red wall",
                    **options,
                }
            ),
            self.now_s,
        )
        self.output: list[Output] = []
        self.controls: list[Controls] = []

    def messages(self, kind: type) -> list[Any]:
        return [item for item in self.output if isinstance(item, kind)]

    @property
    def seqs(self) -> list[int]:
        return [frame.seq for frame in self.messages(VideoFrame)]

    def drain(self) -> list[Output]:
        new: list[Output] = []
        while (item := self.session.next_output(self.now_s)) is not None:
            new.append(item)
            if isinstance(item, VideoFrame | AudioPiece):
                self.session.sent(item, 1000, self.now_s)
        self.output += new
        return new

    def due(self) -> bool:
        at_s = self.session.next_step_s(self.now_s)
        return at_s is not None and at_s <= self.now_s

    def step(
        self, *, talking: bool = False, audio: np.ndarray | None = None, **fields: Any
    ) -> None:
        self.controls.append(self.session.begin_step(self.now_s))
        self.finish(talking=talking, audio=audio, **fields)

    def finish(
        self, *, talking: bool = False, audio: np.ndarray | None = None, **fields: Any
    ) -> None:
        frames = np.zeros((INFO.chunk_frames, 2, 2, 3), np.uint8)
        sound = np.zeros(CHUNK_SAMPLES, np.int16) if audio is None else audio
        scene = fields.pop("scene", self.session.scene)
        chunk = Chunk(0, frames, sound, talking, scene, **fields)
        self.session.finish_step(chunk, 0.01, self.now_s)

    def run(self, seconds: float, *, acks: bool = True, speed: float = 1.0) -> None:
        """Play in real time: step when due, ack every 40 ms what a viewer would show."""
        start_s, start_us = self.now_s, self.session.position_us(self.now_s)
        for _ in range(round(seconds / 0.04)):
            while self.due():
                self.step()
                self.drain()
            self.now_s += 0.04
            if acks:
                end_us = max((f.pts_us for f in self.messages(VideoFrame)), default=0) + 40_000
                shown_us = min(start_us + (self.now_s - start_s) * 1e6 * speed, end_us)
                self.ack(shown_us)
            self.drain()

    def ack(self, playhead_us: float, **fields: Any) -> None:
        shown = [f.seq for f in self.messages(VideoFrame) if f.pts_us <= playhead_us]
        ack = Ack(playhead_us=playhead_us, last_seq=max(shown, default=-1), **fields)
        self.session.receive(ack, self.now_s)

    def say(self, message: Any) -> None:
        self.session.receive(message, self.now_s)

    def speak(self, samples: np.ndarray) -> None:
        for start in range(0, len(samples), 320):
            payload = samples[start : start + 320].astype("<i2").tobytes()
            packet = Packet(Kind.AUDIO_IN, Flags.NONE, 0, 0, 0, 0, 0, payload)
            self.session.receive_audio(packet, self.now_s)


def prompt(event_id: str, text: str = "a blue wall") -> Prompt:
    return Prompt(event_id=event_id, text=text)


# Pacing.


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


# Controls.


def test_a_control_is_answered_with_the_chunk_that_obeys_it_before_its_media() -> None:
    bench = Bench()
    bench.step()
    bench.drain()
    bench.say(prompt("a"))
    assert not bench.drain()
    bench.step()
    first, *media = bench.drain()
    assert first == Applied(event_id="a", chunk=1, pts_us=CHUNK_US)
    assert bench.controls[-1].prompt == "a blue wall"
    assert {item.chunk for item in media if isinstance(item, VideoFrame | AudioPiece)} == {1}
    assert len(media) == 5


def test_a_control_that_arrives_during_a_step_waits_for_the_next() -> None:
    bench = Bench()
    bench.session.begin_step(bench.now_s)
    bench.say(prompt("a"))
    bench.finish()
    assert not bench.messages(Applied)
    bench.step()
    bench.drain()
    assert [applied.chunk for applied in bench.messages(Applied)] == [1]


def test_the_newest_prompt_replaces_the_one_that_waits_and_both_are_answered() -> None:
    bench = Bench()
    bench.say(prompt("a", "one"))
    bench.say(prompt("b", "two"))
    bench.step()
    bench.drain()
    assert bench.controls[-1].prompt == "two"
    answers = bench.messages(Applied)
    assert [(a.event_id, a.chunk) for a in answers] == [("a", 0), ("b", 0)]


def test_ignored_words_and_scenes_are_reported() -> None:
    bench = Bench()
    bench.say(prompt("a"))
    bench.say(SceneChange(event_id="b", scene="grid"))
    bench.step(ignored_words=("zebra",), scene="grid")
    bench.drain()
    by_id = {answer.event_id: answer for answer in bench.messages(Applied)}
    assert by_id["a"].ignored_words == ["zebra"] and by_id["a"].scene is None
    assert by_id["b"].scene == "grid" and by_id["b"].ignored_words is None


def test_moves_are_merged_and_downs_and_ups_are_kept() -> None:
    bench = Bench()

    def points(*events: tuple[int, str, float]) -> Tracks:
        made: list[Any] = [TrackPoint(id=i, phase=p, x=x, y=0) for i, p, x in events]  # pyright: ignore[reportArgumentType]
        return Tracks(event_id="t", points=made)

    bench.say(points((1, "down", 0.1), (1, "move", 0.2), (2, "down", 0.5)))
    bench.say(points((1, "move", 0.3), (1, "up", 0.3), (2, "move", 0.6)))
    bench.step()
    told = [(event.id, event.phase, event.x) for event in bench.controls[-1].tracks]
    assert told == [
        (1, "down", 0.1),
        (1, "move", 0.3),
        (2, "down", 0.5),
        (1, "up", 0.3),
        (2, "move", 0.6),
    ]


@pytest.mark.parametrize(
    ("clear", "expected_clear", "expected_ids"),
    [
        (TracksClear(event_id="c"), None, [3]),
        (TracksClear(event_id="c", ids=[1]), (1,), [2, 3]),
    ],
)
def test_clearing_tracks_drops_what_waits_for_them(
    clear: TracksClear, expected_clear: Any, expected_ids: list[int]
) -> None:
    bench = Bench()

    def down(id_: int) -> Tracks:
        point = TrackPoint(id=id_, phase="down", x=0, y=0)
        return Tracks(event_id=f"d{id_}", points=[point])

    bench.say(down(1))
    bench.say(down(2))
    bench.say(clear)
    bench.say(down(3))
    bench.step()
    assert bench.controls[-1].clear_tracks == expected_clear
    assert [event.id for event in bench.controls[-1].tracks] == expected_ids


def test_a_seventeenth_track_is_refused_whole() -> None:
    bench = Bench()
    many = [TrackPoint(id=n, phase="down", x=0, y=0) for n in range(16)]
    bench.say(Tracks(event_id="a", points=many))
    more = [TrackPoint(id=n, phase="down", x=0, y=0) for n in (15, 16)]
    with pytest.raises(InvalidField) as caught:
        bench.say(Tracks(event_id="b", points=more))
    assert caught.value.field == "points[1].id"
    bench.step()
    assert len(bench.controls[-1].tracks) == 16


def test_a_lost_connection_lets_go_of_held_tracks_and_keeps_anchors() -> None:
    bench = Bench()
    points = [
        TrackPoint(id=1, phase="down", x=0, y=0),
        TrackPoint(id=2, phase="anchor", x=0, y=0),
    ]
    bench.say(Tracks(event_id="a", points=points))
    bench.step()
    bench.session.detach(bench.now_s)
    bench.session.resume(-1, audio=True, now_s=bench.now_s)
    bench.drain()
    bench.step()
    assert bench.controls[-1].clear_tracks == (1,)


def test_a_reset_drops_speech_and_tracks_and_marks_a_discontinuity() -> None:
    bench = Bench()
    bench.speak(np.tile(SPEECH, 3))
    bench.say(Reset(event_id="r", seed=9))
    bench.step()
    bench.drain()
    told = bench.controls[-1]
    assert (told.reset, told.seed, told.clear_tracks) == (True, 9, None)
    assert not len(told.audio)
    assert bench.messages(VideoFrame)[0].discontinuity
    assert bench.messages(AudioPiece)[0].discontinuity


def test_what_the_model_does_not_obey_is_refused() -> None:
    bench = Bench()
    deaf = replace(INFO, controls=frozenset(("prompt",)))
    bench.session = Session(deaf, bench.session.options, bench.now_s)
    for message in (AudioEnd(event_id="a"), TracksClear(event_id="b")):
        with pytest.raises(NotSupported) as caught:
            bench.say(message)
        assert caught.value.event_id == message.event_id
    with pytest.raises(NotSupported):
        bench.speak(SPEECH)
    bench.say(prompt("p"))


def test_a_second_hello_is_out_of_order() -> None:
    with pytest.raises(OutOfOrder):
        Bench().say(ClientHello(versions=[1], codecs=["jpeg"]))


def test_too_many_waiting_controls_are_refused() -> None:
    bench = Bench()
    refused = 0
    for number in range(300):
        try:
            bench.say(prompt(f"e{number}"))
        except StreamError as error:
            assert error.code == "rate_limited"
            bench.session.refuse(error)
            refused += 1
    bench.step()
    bench.drain()
    assert refused == 300 - 256
    assert len(bench.messages(Rejected)) == refused
    assert len(bench.messages(Applied)) == 256


# Speech.


def test_speech_is_fed_in_whole_chunks() -> None:
    bench = Bench()
    bench.speak(SPEECH[:2000])
    bench.step()
    assert not len(bench.controls[-1].audio)
    bench.speak(SPEECH[:1000])
    bench.step()
    assert len(bench.controls[-1].audio) == CHUNK_SAMPLES


def test_barge_in_silences_what_was_fed_queued_generated_and_unsent() -> None:
    bench = Bench()
    bench.speak(np.tile(SPEECH, 4))
    bench.step(talking=True, audio=SPEECH)
    bench.session.begin_step(bench.now_s)
    bench.now_s += 0.01
    bench.say(AudioClear(event_id="c"))
    bench.finish(talking=True, audio=SPEECH)
    bench.drain()
    bench.step()
    bench.drain()
    assert all(not piece.samples.any() for piece in bench.messages(AudioPiece))
    assert bench.controls[-1].clear_audio and not len(bench.controls[-1].audio)
    (applied,) = bench.messages(Applied)
    assert applied.position_us == 0.0 and applied.chunk == 2
    assert bench.session.queued_audio_ms == 0


def test_received_and_talking_are_reported_when_they_change() -> None:
    bench = Bench()
    bench.run(0.4)
    bench.speak(np.tile(SPEECH, 2))
    received = bench.messages(State) + [x for x in bench.drain() if isinstance(x, State)]
    assert received[-1].received and not received[-1].talking
    while not bench.due():
        bench.run(0.04)
        bench.now_s += 0.02
    bench.step(talking=True, audio=SPEECH)
    bench.drain()
    talking_us = (bench.session.chunks - 1) * CHUNK_US
    bench.now_s += 0.3
    bench.ack(talking_us + 1000)
    (state,) = [item for item in bench.drain() if isinstance(item, State)]
    assert state.talking and state.pts_us >= talking_us


# What the client is told.


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


# Resume.


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


# Slow links.


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


def test_a_decoder_that_cannot_keep_up_gets_every_second_frame() -> None:
    bench = Bench()
    bench.run(1)
    bench.ack(1e6, decode_queue=20)
    bench.step()
    bench.step()
    before = len(bench.seqs)
    bench.drain()
    assert len(bench.seqs) - before == 4
