"""The jitter buffer: whole chunks, silence when dry, nothing lost, nothing endless."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcast.server.protocol.errors import AudioOverflow
from rollcast.server.session.audio_queue import AudioQueue

CHUNK = 2560


def queue(audio_rate: int = 16_000) -> AudioQueue:
    return AudioQueue(
        audio_rate=audio_rate, sample_rate=16_000, chunk_samples=CHUNK, max_queued_ms=30_000
    )


def tone(count: int, value: int = 5000) -> np.ndarray:
    return np.full(count, value, np.int16)


def test_speaking_starts_with_a_whole_chunk() -> None:
    audio = queue()
    audio.push(tone(CHUNK - 1), 0.0)
    assert not len(audio.take(0.1, CHUNK))
    audio.push(tone(1), 0.1)
    assert len(audio.take(0.1, CHUNK)) == CHUNK
    assert audio.queued_ms == 0


def test_the_end_of_an_utterance_is_played_without_waiting() -> None:
    audio = queue()
    audio.push(tone(CHUNK + 100), 0.0)
    audio.end()
    assert [len(audio.take(0.1, CHUNK)) for _ in range(3)] == [CHUNK, 100, 0]
    assert audio.underruns == 0


def test_running_dry_feeds_silence_and_loses_nothing() -> None:
    audio = queue()
    audio.push(tone(CHUNK + 500), 0.0)
    assert [len(audio.take(0.1, CHUNK)) for _ in range(3)] == [CHUNK, 0, 0]
    assert audio.underruns == 1
    audio.push(tone(CHUNK - 500), 0.2)
    assert len(audio.take(0.2, CHUNK)) == CHUNK


def test_a_sender_that_falls_silent_has_ended_its_utterance() -> None:
    audio = queue()
    audio.push(tone(900), 0.0)
    assert not len(audio.take(0.4, CHUNK))
    assert len(audio.take(0.6, CHUNK)) == 900


def test_new_audio_after_the_end_is_a_new_utterance() -> None:
    audio = queue()
    audio.push(tone(100), 0.0)
    audio.end()
    audio.push(tone(100), 0.1)
    assert not len(audio.take(0.1, CHUNK))


def test_what_does_not_fit_is_refused_whole() -> None:
    audio = queue()
    for _ in range(30):
        audio.push(tone(16_000), 0.0)
    with pytest.raises(AudioOverflow):
        audio.push(tone(1), 0.0)
    assert audio.queued_ms == 30_000


def test_clear_forgets_everything() -> None:
    audio = queue()
    audio.push(tone(CHUNK * 2), 0.0)
    audio.clear()
    assert not len(audio.take(0.0, CHUNK))
    assert not audio.receiving(0.0)


def test_receiving_lasts_a_little_longer_than_the_audio() -> None:
    audio = queue()
    assert not audio.receiving(0.0)
    audio.push(tone(CHUNK), 1.0)
    audio.take(1.0, CHUNK)
    assert audio.receiving(1.2)
    assert not audio.receiving(1.4)


def test_a_stall_of_live_audio_is_made_up_in_its_silences() -> None:
    audio = queue()
    for number in range(100):
        audio.push(tone(320, 5000 if number < 10 else 5), 0.02 * number)
    assert audio.queued_ms == 2000
    spoken = [audio.take(2.0, CHUNK) for _ in range(4)]
    assert audio.queued_ms < 500
    heard = np.concatenate(spoken)
    assert (heard == 5000).sum() == 3200


def test_a_file_sent_ahead_keeps_its_pauses() -> None:
    audio = queue()
    audio.push(tone(16_000, 5), 0.0)
    audio.push(tone(16_000, 5), 0.01)
    audio.take(0.05, CHUNK)
    assert audio.queued_ms == 1840


@given(
    st.lists(st.one_of(st.integers(1, 5000), st.sampled_from(["take", "end", "wait"])), max_size=40)
)
def test_every_sample_comes_out_once_and_in_order(actions: list[int | str]) -> None:
    audio, now_s, sent, fed = queue(), 0.0, 0, []
    for action in [*actions, "end", *["take"] * 80]:
        match action:
            case int():
                audio.push(np.arange(sent, sent + action).astype(np.int16) | 1024, now_s)
                sent += action
            case "take":
                fed.append(audio.take(now_s, CHUNK))
            case "end":
                audio.end()
            case _:
                now_s += 0.2
    expected = np.arange(sent).astype(np.int16) | 1024
    np.testing.assert_array_equal(np.concatenate(fed), expected)
    assert all(len(piece) <= CHUNK for piece in fed)


def test_a_step_takes_what_it_lasts_and_one_that_needs_nothing_takes_nothing() -> None:
    audio = queue()
    audio.push(tone(CHUNK + 900), 0.0)
    assert [len(audio.take(0.1, count)) for count in (CHUNK, 0, 900)] == [CHUNK, 0, 900]
    assert audio.underruns == 0


def test_another_rate_is_bounded_by_its_duration() -> None:
    audio = queue(48_000)
    for _ in range(30):
        audio.push(tone(48_000), 0.0)
        audio.end()
    assert audio.queued_ms == 30_000
    with pytest.raises(AudioOverflow):
        audio.push(tone(100), 0.0)


@pytest.mark.parametrize("says_so", [True, False])
def test_the_end_of_an_utterance_brings_what_the_resampler_held(says_so: bool) -> None:
    audio = queue(24_000)
    audio.push(tone(2400), 0.0)
    assert audio.queued_ms == 99
    if says_so:
        audio.end()
    assert len(audio.take(0.1 if says_so else 0.6, CHUNK)) == 1600


def test_what_the_resampler_held_is_cleared_with_the_rest() -> None:
    audio = queue(24_000)
    audio.push(tone(2400), 0.0)
    audio.clear()
    audio.push(tone(2400, 0), 0.1)
    audio.end()
    fed = audio.take(0.1, CHUNK)
    assert len(fed) == 1600 and not fed.any()
