"""Chunks of any number of frames: media time, speech and a resume all go by frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcast.models.contract import Chunk, ModelInfo, ModelInputs, SpeechInput, StreamRequest
from rollcast.server.protocol.client_messages import AudioClear, AudioEnd, Reset
from rollcast.server.protocol.errors import InvalidField
from rollcast.server.protocol.packets import Flags, Kind, Packet
from rollcast.server.protocol.server_messages import Applied
from rollcast.server.session.media import AudioPiece, VideoFrame
from rollcast.server.session.options import SessionOptions
from rollcast.server.session.outbox import Output
from rollcast.server.session.session import Session
from rollcast.server.session.speech_budget import SpeechBudget

INFO = ModelInfo(
    name="causal",
    title="Causal",
    width=2,
    height=2,
    fps=25,
    chunk_frames=12,
    first_chunk_frames=9,
    inputs=ModelInputs(speech=SpeechInput()),
)
lengths = st.lists(st.integers(1, 16), min_size=1, max_size=8)
rates = st.sampled_from([(25, 16_000), (24, 16_000), (16, 24_000), (30, 16_000), (24, 22_050)])


class Listener:
    """A model that shows what it was fed, in order, as long as its frames last."""

    def __init__(self, info: ModelInfo) -> None:
        self.info = info
        self.heard = np.zeros(0, np.int16)
        self.frames = 0

    def step(self, audio: np.ndarray, count: int) -> Chunk:
        self.heard = np.concatenate([self.heard, audio])
        length = self.info.samples(self.frames + count) - self.info.samples(self.frames)
        self.frames += count
        shown, self.heard = self.heard[:length], self.heard[length:]
        shown = np.pad(shown, (0, length - len(shown)))
        return Chunk(0, np.zeros((count, 2, 2, 3), np.uint8), shown)


def session(info: ModelInfo = INFO, **options: Any) -> Session:
    kept = SessionOptions(
        session_id="s", resume_token="t", request=StreamRequest(), max_lead_chunks=50, **options
    )
    return Session(info, kept, 0.0)


def step(stream: Session, model: Listener, count: int) -> None:
    stream.finish_step(model.step(stream.begin_step(0.0).audio, count), 0.01, 0.0)


def drain(stream: Session) -> list[Output]:
    output: list[Output] = []
    while (item := stream.next_output(0.0)) is not None:
        output.append(item)
    return output


def speak(stream: Session, samples: np.ndarray) -> None:
    for begin in range(0, len(samples), 8000):
        payload = samples[begin : begin + 8000].astype("<i2").tobytes()
        stream.receive_audio(Packet(Kind.AUDIO_IN, Flags.NONE, 0, 0, 0, 0, 0, payload), 0.0)


@given(lengths, rates)
def test_frames_are_counted_on_and_sound_lasts_as_long_as_they_do(
    counts: list[int], rate: tuple[int, int]
) -> None:
    info = replace(INFO, fps=rate[0], inputs=ModelInputs(speech=SpeechInput(rate[1])))
    stream, model = session(info), Listener(info)
    assert stream.sound_rate == 16_000  # the client's
    for count in counts:
        step(stream, model, count)
    output = drain(stream)
    frames = [item for item in output if isinstance(item, VideoFrame)]
    sound = [item for item in output if isinstance(item, AudioPiece)]
    assert [frame.seq for frame in frames] == list(range(sum(counts)))
    assert all(frame.pts_us == frame.seq * 1e6 / info.fps for frame in frames)
    assert [frame.chunk for frame in frames if frame.last_of_chunk] == list(range(len(counts)))
    begins = np.cumsum([0, *counts[:-1]])
    assert [piece.pts_us for piece in sound] == [int(seq) * 1e6 / info.fps for seq in begins]
    played = sum(len(piece.samples) for piece in sound)
    assert abs(played - sum(counts) * 16_000 / rate[0]) <= 1


@given(lengths, st.data())
def test_a_resume_gives_exactly_the_rest(counts: list[int], data: st.DataObject) -> None:
    stream, model = session(), Listener(INFO)
    for count in counts:
        step(stream, model, count)
    whole = drain(stream)
    total = sum(counts)
    last_seq = data.draw(st.integers(-1, total - 1))
    stream.detach(0.0)
    stream.check_resume("t", last_seq)
    with pytest.raises(InvalidField):
        stream.check_resume("t", total)
    assert stream.resume(last_seq, audio=True, now_s=0.0) == last_seq + 1
    rest = drain(stream)
    frames = [item.seq for item in rest if isinstance(item, VideoFrame)]
    assert frames == list(range(last_seq + 1, total))
    begin = INFO.samples(last_seq + 1)
    heard = [item.samples for item in whole if isinstance(item, AudioPiece)]
    again = [item.samples for item in rest if isinstance(item, AudioPiece)]
    np.testing.assert_array_equal(
        np.concatenate([*again, np.zeros(0, np.int16)]), np.concatenate(heard)[begin:]
    )


@given(st.lists(st.integers(1, 12), min_size=30, max_size=40), rates)
def test_speech_never_drifts_from_the_picture(counts: list[int], rate: tuple[int, int]) -> None:
    """Short chunks leave speech in the model; it is never more than a chunk, and none is lost."""
    info = replace(INFO, fps=rate[0], inputs=ModelInputs(speech=SpeechInput(rate[1])))
    stream, model = session(info, audio_rate=rate[1]), Listener(info)
    spoken = np.arange(1, rate[1] + 1, dtype=np.int16)
    speak(stream, spoken)
    stream.receive(AudioEnd(event_id="e"), 0.0)
    heard: list[np.ndarray] = []
    for count in counts:
        step(stream, model, count)
        heard += [item.samples for item in drain(stream) if isinstance(item, AudioPiece)]
        assert len(model.heard) <= info.samples(12) + 1
    said = np.concatenate(heard)
    shown = said[said != 0]
    np.testing.assert_array_equal(shown, spoken[: len(shown)])
    if len(shown) < len(spoken):
        # the voice did not wait: it was shown from the first frame to the last
        assert abs(len(shown) - len(said)) <= 1


def test_a_reset_is_expected_to_give_a_first_chunk() -> None:
    stream, model = session(), Listener(INFO)
    step(stream, model, 9)
    step(stream, model, 12)
    stream.receive(Reset(event_id="r"), 0.0)
    speak(stream, np.ones(16_000, np.int16))
    controls = stream.begin_step(0.0)
    assert controls.reset and len(controls.audio) == INFO.samples(9)
    stream.finish_step(model.step(controls.audio, 9), 0.01, 0.0)
    assert len(stream.begin_step(0.0).audio) == INFO.samples(12)
    (answer,) = [item for item in drain(stream) if isinstance(item, Applied)]
    assert (answer.chunk, answer.pts_us) == (2, INFO.media_us(21))


def test_a_chunk_that_came_out_short_leaves_less_to_feed() -> None:
    budget = SpeechBudget(replace(INFO, first_chunk_frames=None))
    for told in ("", "not known yet"):
        assert budget.begin() == INFO.samples(12), told
        budget.fed(INFO.samples(12))
    assert budget.finish(9) == 0
    assert budget.begin() == INFO.samples(9)
    budget.fed(INFO.samples(9))
    assert budget.finish(12) == INFO.samples(3)
    assert budget.finish(12) == INFO.samples(3)
    assert budget.begin() == INFO.samples(12)


def test_silence_does_not_wait_in_a_model() -> None:
    budget = SpeechBudget(replace(INFO, first_chunk_frames=None))
    budget.begin()
    budget.fed(0)
    budget.finish(3)
    assert budget.begin() == INFO.samples(12), "it was fed nothing that could be left"
    budget.fed(INFO.samples(5))
    budget.finish(3)
    assert budget.begin() == INFO.samples(10)


def test_speech_that_was_cleared_is_not_counted_as_fed_ahead() -> None:
    budget = SpeechBudget(replace(INFO, first_chunk_frames=None))
    budget.fed(budget.begin())
    assert budget.begin(clears=True) == INFO.samples(12)
    budget.fed(INFO.samples(12))
    budget.finish(9)
    assert budget.finish(12) == 0
    assert budget.begin() == INFO.samples(12)


def test_a_dropped_chunk_moves_neither_frames_nor_what_is_fed_ahead() -> None:
    stream, model = session(max_under_way=4), Listener(INFO)
    step(stream, model, 9)
    stream.begin_step(0.0)
    stream.receive(AudioClear(event_id="c"), 0.0)
    stream.drop_step()
    assert stream.frames == 9
    speak(stream, np.ones(16_000, np.int16))
    step(stream, model, 12)
    frames = [item for item in drain(stream) if isinstance(item, VideoFrame)]
    assert [frame.seq for frame in frames] == list(range(21))
    assert frames[9].discontinuity


def test_an_answer_at_once_names_the_time_that_is_expected() -> None:
    stream, model = session(max_under_way=4), Listener(INFO)
    step(stream, model, 9)
    stream.begin_step(0.0)
    stream.receive(AudioEnd(event_id="e"), 0.0)
    (answer,) = [item for item in drain(stream) if isinstance(item, Applied)]
    assert (answer.chunk, answer.pts_us) == (2, INFO.media_us(21))


def test_a_model_without_sound_or_scenes_has_frames_alone() -> None:
    mute = replace(INFO, inputs=ModelInputs())
    stream = session(mute)
    controls = stream.begin_step(0.0)
    assert not len(controls.audio)
    chunk = Chunk(0, np.zeros((9, 2, 2, 3), np.uint8), np.zeros(0, np.int16))
    stream.finish_step(chunk, 0.01, 0.0)
    media = [item for item in drain(stream) if isinstance(item, AudioPiece | VideoFrame)]
    assert len(media) == 9 and stream.scene is None
