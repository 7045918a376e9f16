"""What a client sends at its own rate comes back bit for bit, beside the frames that show it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollcast.models.contract import StreamRequest
from rollcast.models.test_pattern import TestPattern
from rollcast.server.protocol.client_messages import (
    Ack,
    AudioBegin,
    AudioClear,
    AudioEnd,
    Pause,
    Reset,
    Resume,
)
from rollcast.server.protocol.server_messages import Speech
from rollcast.server.session.media import AudioPiece, VideoFrame
from rollcast.server.session.original_sound import OriginalSound

from ..other_models import CausalPattern
from .session_bench import Bench
from .test_utterances import UnevenPattern

RATES = [8_000, 22_050, 24_000, 44_100, 48_000]


class Voice(Bench):
    """A bench with the model's own sound and a voice of noise, without a sample of silence."""

    def __init__(self, model: TestPattern | None = None, rate: int = 24_000, **more: Any) -> None:
        self.model = model or TestPattern()
        super().__init__(self.model.info, audio_rate=rate, **more)
        self.rate = rate
        self.state = self.model.start(StreamRequest(seed=1, scene="bars"))
        self.random = np.random.default_rng(rate)
        self.copies: list[np.ndarray] = []

    def voice(self, count: int) -> np.ndarray:
        """Speak so many samples, and return them."""
        said = self.random.integers(1, 9000, count).astype(np.int16)
        said *= self.random.choice(np.array([-1, 1], np.int16), count)
        self.speak(said)
        return said

    def item(self, name: str, count: int) -> np.ndarray:
        self.say(AudioBegin(event_id="b", item_id=name))
        said = self.voice(count)
        self.say(AudioEnd(event_id="e"))
        return said

    def step_once(self) -> None:
        chunk = self.model.step(self.state, self.session.begin_step(self.now_s))
        self.copies.append(self.session.finish_step(chunk, 0.01, self.now_s).audio)

    def play(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            while self.due():
                self.step_once()
                self.drain()
            self.now_s += 0.02
            frames = self.messages(VideoFrame)
            end_us = frames[-1].pts_us + 1e6 / self.model.info.fps if frames else 0
            shown_us = min(self.session.position_us(self.now_s - 0.02) + 20_000, end_us)
            self.session.receive(Ack(playhead_us=shown_us, last_seq=-1), self.now_s)
            self.drain()

    @property
    def sound(self) -> np.ndarray:
        """What was sent of sound, by media time."""
        heard = np.zeros(60 * self.rate, np.int16)
        for piece in self.messages(AudioPiece):
            assert piece.rate == self.rate
            # whole samples, however the frames divide them
            begin = int(piece.pts_us * self.rate / 1e6 + 1e-6)
            heard[begin : begin + len(piece.samples)] = piece.samples
        return heard

    def at(self, item: str, phase: str = "started") -> int:
        """The sample with which an utterance begins or ends, as told."""
        (told,) = [e for e in self.messages(Speech) if (e.item_id, e.phase) == (item, phase)]
        return round(told.pts_us * self.rate / 1e6)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("model", [TestPattern, CausalPattern, lambda: UnevenPattern((4, 2, 3))])
def test_what_was_sent_comes_back_where_it_is_shown(rate: int, model: Any) -> None:
    voice = Voice(model(), rate)
    voice.play(0.5)
    said = voice.item("a", rate + 12_347)
    voice.play(len(said) / rate + 2)
    sound, begin = voice.sound, voice.at("a")
    first = int(np.flatnonzero(sound)[0])
    assert abs(first - begin) <= 1
    assert np.array_equal(sound[first : first + len(said)], said)
    assert np.count_nonzero(sound) == len(said)
    assert abs(voice.at("a", "ended") - (first + len(said))) <= rate // 8_000


@pytest.mark.parametrize("rate", RATES)
def test_utterances_in_a_row_leave_no_gap(rate: int) -> None:
    voice = Voice(rate=rate)
    said = np.concatenate([voice.item(str(n), rate // 7 + 31 * n) for n in range(12)])
    voice.play(len(said) / rate + 2)
    sound = voice.sound
    first = int(np.flatnonzero(sound)[0])
    assert np.array_equal(sound[first : first + len(said)], said)


@pytest.mark.parametrize("rate", RATES)
def test_sound_does_not_drift_over_ten_thousand_short_utterances(rate: int) -> None:
    """Each is rounded to whole samples of the copy; together they stay where the copy is."""
    info = TestPattern().info
    original = OriginalSound(info, rate)
    count, index = rate // 50 + 1, 0
    copied = (2 * count * 16_000 + rate) // (2 * rate)
    for step in range(10_000):
        original.sent(np.full(count, step + 1, np.int16))
        original.seam(index + copied)
        original.fed(index, copied, clears=False)
        # so many samples of the stream, from here on
        frames, waited = divmod(index, info.samples(1))
        original.placed(frames, waited)
        index += copied
        original.forget(max(0, frames - 5), index)
    frames = index // info.samples(1)
    heard = original.sound(frames, 10)
    last = int(np.flatnonzero(heard)[-1]) + 1 + frames * rate // info.fps
    wanted = (index + 160 * 16) * rate / 16_000
    assert abs(last - wanted) <= rate / 1000 + rate / 8_000
    assert original.byte_count < 2 * rate


@pytest.mark.parametrize("rate", RATES)
def test_barge_in_cuts_it_and_what_comes_next_is_whole(rate: int) -> None:
    voice = Voice(rate=rate)
    cut = voice.item("a", 3 * rate)
    voice.play(1.0)
    position_us = voice.session.position_us(voice.now_s)
    voice.say(AudioClear(event_id="c"))
    voice.drain()
    sent = voice.messages(AudioPiece)
    voice.play(0.4)
    said = voice.item("b", rate)
    voice.play(3)
    sound, begin = voice.sound, voice.at("a")
    # what was sent before stays, and nothing follows it
    heard_until = max(round(p.pts_us * rate / 1e6) + len(p.samples) for p in sent)
    assert heard_until >= position_us * rate / 1e6
    first = int(np.flatnonzero(sound)[0])
    assert abs(first - begin) <= 1
    assert np.array_equal(sound[first:heard_until], cut[: heard_until - first])
    again = heard_until + int(np.flatnonzero(sound[heard_until:])[0])
    assert abs(again - voice.at("b")) <= 1
    assert np.array_equal(sound[again : again + rate], said)
    assert np.count_nonzero(sound[heard_until:]) == rate


@pytest.mark.parametrize("rate", RATES)
def test_nothing_is_lost_in_pauses_of_the_sender_or_of_the_stream(rate: int) -> None:
    voice = Voice(rate=rate)
    voice.say(AudioBegin(event_id="b", item_id="a"))
    said = voice.voice(rate // 2 + 7)
    voice.play(0.3)
    voice.say(Pause(event_id="p"))
    voice.play(1.0)
    voice.say(Resume(event_id="r"))
    voice.play(2.0)
    said = np.concatenate((said, voice.voice(rate // 3)))
    voice.say(AudioEnd(event_id="e"))
    voice.play(2.0)
    sound = voice.sound
    assert np.array_equal(sound[sound != 0], said)
    gap = np.diff(np.flatnonzero(sound))
    assert (gap > 1).sum() == 1 and gap.max() > rate


@pytest.mark.parametrize("rate", RATES)
def test_a_resumed_connection_is_sent_the_same_sound_again(rate: int) -> None:
    voice = Voice(CausalPattern(), rate)
    voice.item("a", 3 * rate)
    voice.play(1.5)
    before, session = voice.sound, voice.session
    begin_seq = session.frames - 5
    session.detach(voice.now_s)
    voice.output.clear()
    session.resume(begin_seq - 1, audio=True, now_s=voice.now_s)
    voice.drain()
    again = voice.messages(AudioPiece)
    begin = begin_seq * rate // voice.model.info.fps
    end = session.frames * rate // voice.model.info.fps
    assert again[0].pts_us == pytest.approx(begin_seq * 1e6 / voice.model.info.fps)
    assert np.array_equal(np.concatenate([p.samples for p in again]), before[begin:end])
    assert before[begin:end].any()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["step", "step", "speak", "begin", "end", "clear", "reset"])),
    st.sampled_from([(4,), (4, 2, 4, 3), (1, 4, 4), (3,)]),
)
def test_it_is_laid_where_the_model_shows_its_copy(names: list[str], lengths: Any) -> None:
    """At the model's own rate both are the same samples, whatever happens."""
    voice = Voice(UnevenPattern(lengths), 16_000)
    plain = Voice(UnevenPattern(lengths), 16_000)
    speech = voice.session._speech
    speech._original = OriginalSound(voice.model.info, 16_000)
    for number, name in enumerate([*names, "step", "step", "step"]):
        for each in (voice, plain):
            each.now_s += 0.3
            match name:
                case "step":
                    each.step_once()
                case "speak":
                    each.voice(1777)
                case "begin":
                    each.say(AudioBegin(event_id="b", item_id=str(number)))
                case "end":
                    each.say(AudioEnd(event_id="e"))
                case "clear":
                    each.say(AudioClear(event_id="c"))
                case _:
                    each.say(Reset(event_id="r"))
    for mine, copy in zip(voice.copies, plain.copies, strict=True):
        assert np.array_equal(mine, copy)


def test_what_is_kept_does_not_grow() -> None:
    voice = Voice(rate=48_000)
    kept = 0
    for number in range(16):
        voice.voice(48_000)
        if number % 3 == 2:
            voice.say(AudioClear(event_id="c"))
        voice.play(0.5 if number % 5 else 0.0)
        kept = max(kept, voice.session._speech.byte_count)
    assert kept < 2 * 48_000 * 2 * 4 + 2 * 16_000 * 4
    voice.say(Pause(event_id="p"))
    for _ in range(20):
        voice.voice(48_000)
        voice.say(AudioClear(event_id="c"))
    assert voice.session._speech.byte_count < kept
