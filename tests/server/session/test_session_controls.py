"""Controls in, answers and the next step's controls out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rollcast.models.contract import ModelInputs, PromptInput
from rollcast.models.test_pattern import CHUNK_SAMPLES
from rollcast.server.protocol.client_messages import (
    AudioClear,
    AudioEnd,
    ClientHello,
    Reset,
    SceneChange,
    TrackPoint,
    Tracks,
    TracksClear,
)
from rollcast.server.protocol.errors import InvalidField, NotSupported, OutOfOrder, StreamError
from rollcast.server.protocol.server_messages import Applied, Rejected, State
from rollcast.server.session.media import AudioPiece, VideoFrame
from rollcast.server.session.session import Session

from .session_bench import CHUNK_US, INFO, SPEECH, Bench, prompt


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
    deaf = replace(INFO, inputs=ModelInputs(prompt=PromptInput(), seed=False))
    bench.session = Session(deaf, bench.session.options, bench.now_s)
    for message in (AudioEnd(event_id="a"), TracksClear(event_id="b"), Reset(event_id="c", seed=1)):
        with pytest.raises(NotSupported) as caught:
            bench.say(message)
        assert caught.value.event_id == message.event_id
        assert caught.value.message.endswith(", only prompt")
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


def test_barge_in_drops_what_several_steps_have_under_way() -> None:
    """Their place is taken by the first chunk that obeys, which answers for their controls."""
    bench = Bench(max_under_way=4, max_lead_chunks=2.5)
    bench.speak(np.tile(SPEECH, 6))
    bench.step(talking=True, audio=SPEECH)
    bench.drain()
    bench.ack(0.0)
    bench.session.begin_step(bench.now_s)
    bench.say(prompt("p", text="blue"))
    bench.session.begin_step(bench.now_s)
    assert not bench.session.take_drop()
    assert not bench.due()
    bench.say(AudioClear(event_id="c"))
    assert bench.session.take_drop() and not bench.session.take_drop()
    assert bench.session.dropping == 2
    assert bench.due(), "what is dropped is no lead"
    bench.session.drop_step()
    bench.session.begin_step(bench.now_s)
    bench.session.drop_step()
    assert bench.session.dropping == 0 and bench.session.prompt == "blue"
    bench.finish()
    bench.drain()
    assert bench.seqs == list(range(2 * INFO.chunk_frames)), "no frame is missing"
    assert bench.messages(VideoFrame)[INFO.chunk_frames].discontinuity
    answers = {applied.event_id: applied.chunk for applied in bench.messages(Applied)}
    assert answers == {"p": 1, "c": 1}
    assert not any(piece.samples.any() for piece in bench.messages(AudioPiece)[1:])


def test_a_step_that_came_out_before_it_could_be_dropped_is_silent() -> None:
    bench = Bench(max_under_way=2)
    bench.speak(np.tile(SPEECH, 4))
    bench.session.begin_step(bench.now_s)
    bench.say(AudioClear(event_id="c"))
    bench.finish(talking=True, audio=SPEECH)
    assert bench.session.dropping == 0
    bench.step(talking=True, audio=SPEECH)
    bench.drain()
    silent, loud = bench.messages(AudioPiece)
    assert not silent.samples.any() and loud.samples.any()


def test_barge_in_with_nothing_under_way_drops_nothing() -> None:
    for depth in (1, 4):
        bench = Bench(max_under_way=depth)
        if depth == 1:
            bench.session.begin_step(bench.now_s)
        bench.say(AudioClear(event_id="c"))
        assert not bench.session.take_drop() and bench.session.dropping == 0


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
