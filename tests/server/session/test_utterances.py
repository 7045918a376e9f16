"""Named utterances: where they are heard, how far they came, and that each ends once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, pairwise
from typing import Any

import numpy as np
import pytest

from rollcast.models.contract import Chunk, Controls, StreamRequest
from rollcast.models.test_pattern import CHUNK_SAMPLES, TestPattern
from rollcast.server.protocol.client_messages import (
    Ack,
    AudioBegin,
    AudioClear,
    AudioEnd,
    Reset,
)
from rollcast.server.protocol.errors import InvalidField, RateLimited
from rollcast.server.protocol.limits import MAX_ITEMS
from rollcast.server.protocol.packets import Flags, Kind, Packet
from rollcast.server.protocol.server_messages import Applied, Speech
from rollcast.server.session.media import AudioPiece, VideoFrame

from ..other_models import CausalPattern
from .session_bench import Bench


class Talk(Bench):
    """A bench with the model's own sound, so that what is told can be compared with what is heard.

    Sample `n` of all that is said has the value n + 1, silence is 0.
    """

    def __init__(self, model: TestPattern | None = None, **options: Any) -> None:
        self._model = model or TestPattern()
        super().__init__(self._model.info, **options)
        self._state = self._model.start(StreamRequest(seed=1, scene="bars"))
        self.said = 0

    def say_item(self, item_id: str, count: int, *, end: bool = True) -> None:
        self.say(AudioBegin(event_id="b", item_id=item_id))
        self.speak_on(count)
        if end:
            self.say(AudioEnd(event_id="e"))

    def speak_on(self, count: int) -> None:
        self.speak(np.arange(self.said + 1, self.said + count + 1).astype(np.int16))
        self.said += count

    def play(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            while self.due():
                controls = self.session.begin_step(self.now_s)
                chunk = self._model.step(self._state, controls)
                self.session.finish_step(chunk, 0.01, self.now_s)
                self.drain()
            self.now_s += 0.02
            frames = self.messages(VideoFrame)
            end_us = frames[-1].pts_us + 40_000 if frames else 0
            shown_us = min(self.session.position_us(self.now_s - 0.02) + 20_000, end_us)
            self.session.receive(Ack(playhead_us=shown_us, last_seq=-1), self.now_s)
            self.drain()

    @property
    def sound(self) -> np.ndarray:
        return np.concatenate([piece.samples for piece in self.messages(AudioPiece)])

    def told(self, item_id: str) -> list[Speech]:
        return [each for each in self.messages(Speech) if each.item_id == item_id]

    def heard_us(self, sample: int) -> float:
        """When sample `sample` of all that was said is heard."""
        return int(np.flatnonzero(self.sound == sample + 1)[0]) * 1e6 / 16_000


class UnevenPattern(TestPattern):
    """Chunks of fewer frames than the usual ones, now and then; what they do not show waits."""

    def __init__(self, lengths: tuple[int, ...]) -> None:
        super().__init__()
        self._lengths = cycle(lengths)
        self._fed = np.zeros(0, np.int16)
        self._late = np.zeros(CHUNK_SAMPLES, np.int16)

    def step(self, state: object, controls: Controls) -> Chunk:
        """A step of the pattern, cut short, with its own sound."""
        if controls.clear_audio or controls.reset:
            self._fed, self._late = self._fed[:0], np.zeros(CHUNK_SAMPLES, np.int16)
        frames = next(self._lengths)
        self._fed = np.concatenate((self._fed, controls.audio))
        length = self.info.samples(frames)
        now, self._fed = self._fed[:length], self._fed[length:]
        self._late = np.concatenate((self._late, np.pad(now, (0, length - len(now)))))
        sound, self._late = self._late[:length], self._late[length:]
        chunk = super().step(state, replace(controls, audio=controls.audio[:0]))
        return replace(chunk, pictures=chunk.frames[:frames], audio=sound)


@pytest.mark.parametrize(
    "model",
    [
        CausalPattern,
        lambda: UnevenPattern((4, 2, 4, 3)),
        lambda: UnevenPattern((1, 4, 4)),
        lambda: UnevenPattern((3,)),
    ],
)
def test_utterances_are_found_in_chunks_of_any_length(model: Callable[[], TestPattern]) -> None:
    talk = Talk(model())
    talk.play(0.5)
    talk.say_item("a", 9_001)
    talk.say_item("b", 16_000)
    while len(talk.told("a")) < 2:
        talk.play(0.1)
    talk.play(0.3)
    began_us, position_us = talk.heard_us(9_001), talk.session.position_us(talk.now_s)
    talk.say(AudioClear(event_id="c"))
    talk.say_item("d", 5_777)
    talk.play(3)
    assert [each.pts_us for each in talk.told("a")] == [
        talk.heard_us(0),
        pytest.approx(talk.heard_us(9_000) + 62.5),
    ]
    cleared = talk.told("b")[-1]
    assert cleared.played_ms == pytest.approx(max(0, position_us - began_us) / 1e3, abs=0.07)
    assert [each.pts_us for each in talk.told("d")] == [
        talk.heard_us(25_001),
        pytest.approx(talk.heard_us(25_001 + 5_776) + 62.5),
    ]


@pytest.mark.parametrize("count", [1, 320, 1000, CHUNK_SAMPLES, 3 * CHUNK_SAMPLES, 20_001])
def test_an_utterance_starts_and_ends_where_its_samples_are_heard(count: int) -> None:
    talk = Talk()
    talk.play(0.5)
    talk.say_item("a", count)
    talk.play(count / 16_000 + 1.5)
    started, ended = talk.told("a")
    assert (started.phase, started.samples, started.played_ms) == ("started", 0, 0)
    assert started.pts_us == talk.heard_us(0)
    assert (ended.phase, ended.samples, ended.played_ms) == ("ended", count, count / 16)
    assert ended.pts_us == pytest.approx(talk.heard_us(count - 1) + 62.5)


def test_utterances_follow_each_other_sample_by_sample() -> None:
    talk = Talk()
    counts = [5_000, 1, 12_345, 700]
    for number, count in enumerate(counts):
        talk.say_item(str(number), count, end=number == len(counts) - 1)
    talk.play(3)
    first = 0
    for number, count in enumerate(counts):
        started, ended = talk.told(str(number))
        assert started.pts_us == talk.heard_us(first)
        assert ended.samples == count
        first += count
    for before, after in pairwise(range(len(counts))):
        assert talk.told(str(before))[1].pts_us == pytest.approx(talk.told(str(after))[0].pts_us)


def test_what_is_told_comes_when_the_viewer_is_there() -> None:
    talk = Talk()
    talk.say_item("a", 16_000)
    for _ in range(120):
        before = len(talk.messages(Speech))
        talk.play(0.02)
        for each in talk.messages(Speech)[before:]:
            assert each.pts_us <= talk.session.position_us(talk.now_s)
            assert talk.session.position_us(talk.now_s) - each.pts_us < 60_000


def test_an_utterance_without_sound_ends_at_once() -> None:
    talk = Talk()
    talk.say_item("a", 0)
    talk.play(0.1)
    (ended,) = talk.told("a")
    assert (ended.phase, ended.samples) == ("ended", 0)


def test_a_pause_within_an_utterance_does_not_end_it() -> None:
    talk = Talk()
    talk.say_item("a", 4_000, end=False)
    talk.play(2)
    assert [each.phase for each in talk.told("a")] == ["started"]
    talk.speak_on(4_000)
    talk.say(AudioEnd(event_id="e", item_id="a"))
    talk.play(2)
    assert talk.told("a")[1].samples == 8_000
    assert talk.told("a")[1].pts_us == pytest.approx(talk.heard_us(7_999) + 62.5)


@pytest.mark.parametrize("played_s", [0.3, 0.5, 0.77, 1.1])
def test_barge_in_says_how_much_of_which_utterance_was_heard(played_s: float) -> None:
    talk = Talk()
    talk.say_item("a", 16_000)
    talk.say_item("b", 16_000)
    talk.play(played_s)
    position_us = talk.session.position_us(talk.now_s)
    began_us = talk.heard_us(0)
    talk.say(AudioClear(event_id="c"))
    talk.drain()
    answer = next(each for each in talk.messages(Applied) if each.event_id == "c")
    assert answer.item_id == "a" and answer.played_ms is not None
    heard_us = max(0.0, position_us - began_us)
    assert answer.played_ms == pytest.approx(heard_us / 1e3, abs=0.07)
    cleared = talk.told("a")[-1]
    assert (cleared.phase, cleared.pts_us) == ("cleared", position_us)
    assert cleared.samples == round(answer.played_ms * 16)
    assert [(each.phase, each.samples) for each in talk.told("b")] == [("cleared", 0)]
    talk.play(2)
    assert len(talk.told("a")) == (2 if heard_us else 1) and len(talk.told("b")) == 1


@pytest.mark.parametrize("rate", [16_000, 24_000])
@pytest.mark.parametrize("anew", [AudioClear, Reset])
def test_one_that_was_heard_whole_is_not_cut_though_its_end_was_never_said(
    rate: int, anew: Callable[..., Any]
) -> None:
    talk = Talk(audio_rate=rate)
    talk.say_item("a", rate // 2, end=False)
    talk.play(2.5)
    talk.say(anew(event_id="c"))
    talk.play(0.3)
    started, ended = talk.told("a")
    assert (started.phase, ended.phase, ended.samples) == ("started", "ended", rate // 2)
    answer = next(each for each in talk.messages(Applied) if each.event_id == "c")
    assert answer.item_id is None


def test_one_of_which_nothing_came_is_cleared() -> None:
    talk = Talk()
    talk.say(AudioBegin(event_id="b", item_id="a"))
    talk.play(0.3)
    talk.say(AudioClear(event_id="c"))
    talk.drain()
    assert [each.phase for each in talk.told("a")] == ["cleared"]


def test_barge_in_between_utterances_names_none() -> None:
    talk = Talk()
    talk.say_item("a", 1_000)
    talk.play(2)
    talk.say(AudioClear(event_id="c"))
    talk.drain()
    answer = next(each for each in talk.messages(Applied) if each.event_id == "c")
    assert answer.item_id is None and answer.played_ms is None


def test_speech_after_barge_in_is_told_of_as_before() -> None:
    talk = Talk()
    talk.say_item("a", 16_000)
    talk.play(0.6)
    talk.say(AudioClear(event_id="c"))
    talk.say_item("b", 8_000)
    talk.play(2)
    started, ended = talk.told("b")
    assert started.pts_us == talk.heard_us(16_000)
    assert ended.pts_us == pytest.approx(talk.heard_us(23_999) + 62.5)


def test_a_reset_clears_utterances() -> None:
    talk = Talk()
    talk.say_item("a", 16_000)
    talk.play(0.6)
    talk.say(Reset(event_id="r"))
    talk.play(0.5)
    assert [each.phase for each in talk.told("a")] == ["started", "cleared"]


def test_samples_are_the_clients_own() -> None:
    talk = Talk(audio_rate=24_000)
    talk.say(AudioBegin(event_id="b", item_id="a"))
    talk.speak(np.full(24_001, 9_000, np.int16))
    talk.say(AudioEnd(event_id="e"))
    talk.play(1.0)
    talk.say(AudioBegin(event_id="b", item_id="b"))
    talk.play(1.5)
    ended = talk.told("a")[1]
    assert (ended.samples, ended.played_ms) == (24_001, 24_001 / 24)


def test_a_false_item_is_refused_and_changes_nothing() -> None:
    talk = Talk()
    talk.say_item("a", 1_000, end=False)
    with pytest.raises(InvalidField, match="not over"):
        talk.say(AudioBegin(event_id="x", item_id="a"))
    with pytest.raises(InvalidField, match="not being sent"):
        talk.say(AudioEnd(event_id="x", item_id="b"))
    talk.speak_on(1_000)
    talk.say(AudioEnd(event_id="e", item_id="a"))
    talk.play(2)
    assert talk.told("a")[1].samples == 2_000
    with pytest.raises(InvalidField):
        talk.say(AudioEnd(event_id="x", item_id="a"))


def test_the_number_of_utterances_that_wait_is_bounded() -> None:
    talk = Talk()
    for number in range(MAX_ITEMS):
        talk.say_item(str(number), 20)
    with pytest.raises(RateLimited):
        talk.say(AudioBegin(event_id="x", item_id="one more"))


def test_a_packet_that_is_refused_does_not_count() -> None:
    talk = Talk()
    talk.say(AudioBegin(event_id="b", item_id="a"))
    talk.speak_on(1_000)
    with pytest.raises(InvalidField):
        talk.session.receive_audio(
            Packet(Kind.AUDIO_IN, Flags.NONE, 0, 0, 0, 0, 0, b"x"), talk.now_s
        )
    talk.say(AudioEnd(event_id="e"))
    talk.play(1)
    assert talk.told("a")[1].samples == 1_000


def test_what_was_told_once_outlives_the_connection() -> None:
    talk = Talk()
    talk.say_item("a", 1_000)
    talk.play(0.1)
    assert not talk.told("a")
    for _ in range(2):  # told, and not sent before the connection is lost
        talk.now_s += 0.15
        talk.session.tick(talk.now_s, 1)
    talk.session.detach(talk.now_s)
    talk.session.resume(3, audio=True, now_s=talk.now_s)
    talk.play(2)
    assert [each.phase for each in talk.told("a")] == ["started", "ended"]
