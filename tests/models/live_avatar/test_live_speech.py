"""Speech in chunks against whole files: what is equal, by how much the rest differs, and memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rollcast.models.live_avatar.live_speech import (
    LiveSpeech,
    SpeechListener,
    SpeechView,
    SpokenChunk,
)
from rollcast.models.live_avatar.speech_encoder import HOP, frames_in
from rollcast.models.live_avatar.speech_frames import (
    features_of_frames,
    live_frames,
    to_video_rate,
)
from rollcast.models.live_avatar.speech_level import SpeechLevel

from .tiny_speech import babble, tiny_speech_encoder

FPS, FRAMES, SILENT = 25, 12, 3
CHUNK = 640 * FRAMES
ENCODER = tiny_speech_encoder()
VOICE = ENCODER.convolve(torch.from_numpy(SpeechLevel().normalised(babble(9.0))))


def listened(
    listener: SpeechListener, samples: np.ndarray, chunks: int, silent: int = 0
) -> list[SpokenChunk]:
    """The chunks of a stream that is fed `samples` as fast as it shows them."""
    speech = listener.begin(silent)
    made: list[SpokenChunk] = []
    for chunk in range(chunks):
        start = max(0, chunk * CHUNK - silent * 640)
        made.append(
            listener.listen(speech, samples[start : (chunk + 1) * CHUNK - silent * 640], FRAMES)
        )
    return made


def clock(samples: np.ndarray, view: SpeechView, silent: int = 0) -> np.ndarray:
    """What a stream is fed, where it is shown."""
    return np.concatenate((np.zeros(silent * 640 + view.lookahead * HOP, np.int16), samples))


@pytest.mark.parametrize("silent", [0, SILENT])
def test_a_chunk_is_its_view_encoded_as_a_file(silent: int) -> None:
    """Within 1e-5 of encoding just the samples of the view at once, for every chunk."""
    encoder, view = tiny_speech_encoder(), SpeechView(context=40, lookahead=7)
    samples = babble(5.0)
    made = listened(SpeechListener(encoder, view, FPS), samples, 8, silent)
    shown = clock(samples, view, silent)
    signal = SpeechLevel().normalised(shown[: len(shown) // HOP * HOP])
    for chunk, spoken in enumerate(made):
        settled = frames_in(chunk * CHUNK)
        first = max(0, settled - view.context)
        seen = signal[first * HOP : (chunk + 1) * CHUNK + view.lookahead * HOP]
        layers = encoder.attend(encoder.convolve(torch.from_numpy(seen)))
        frames = range(chunk * FRAMES, (chunk + 1) * FRAMES)
        wanted = live_frames(layers, first, frames, fps=FPS).permute(1, 2, 0)[None]
        torch.testing.assert_close(spoken.features, wanted, atol=1e-5, rtol=0)
        before = [max(0, k) for k in range(frames.start - 5, frames.start)]
        history = live_frames(layers, first, before, fps=FPS).permute(1, 2, 0)[None]
        torch.testing.assert_close(spoken.history, history, atol=1e-5, rtol=0)


def differences(context: int, lookahead: int, chunks: range) -> float:
    """What chunks of `VOICE` differ by from the whole file, as a share of how it varies there."""
    off = spread = 0.0
    for chunk in chunks:
        first = max(0, frames_in(chunk * CHUNK) - context)
        last = frames_in((chunk + 1) * CHUNK + lookahead * HOP)
        seen = ENCODER.attend(VOICE[first:last])
        frames = range(chunk * FRAMES, (chunk + 1) * FRAMES)
        made = live_frames(seen, first, frames, fps=FPS)
        wanted = live_frames(ENCODER.attend(VOICE), 0, frames, fps=FPS)
        off += float((made - wanted).square().mean())
        spread += float((wanted - wanted.mean(dim=0)).square().mean())
    return (off / spread) ** 0.5


def test_a_view_of_everything_is_the_whole_file() -> None:
    assert differences(1000, 1000, range(0, 12, 4)) < 1e-5


@pytest.mark.slow
def test_more_of_the_voice_is_nearer_to_the_whole_file() -> None:
    """Look-ahead and context both help; how much they do depends on the weights."""
    ahead = [differences(400, n, range(6, 12)) for n in (10, 40, 80, 160)]
    behind = [differences(n, 160, range(6, 12)) for n in (25, 50, 100, 200)]
    assert ahead == sorted(ahead, reverse=True), ahead
    assert behind == sorted(behind, reverse=True), behind
    assert ahead[-1] < ahead[0] / 2, ahead


def test_video_frames_of_a_file_without_end() -> None:
    """The published places of a file of 20 s, but for less than two thirds of a feature."""
    count = 1000
    ramp = torch.arange(count, dtype=torch.float64)[None, :, None]
    published, _ = features_of_frames(to_video_rate(ramp), fps=FPS, batch_frames=48)
    frames = 495
    made = live_frames(ramp, 0, range(frames), fps=FPS)
    off = (published[:frames] - made)[:, 0, 0]
    assert off.min() >= -1e-9 and off.max() < 2 / 3
    assert off[:100].max() < 0.15
    later = live_frames(ramp[:, 300:], 300, range(200, 210), fps=FPS)
    torch.testing.assert_close(later, made[200:210])
    with pytest.raises(ValueError, match=r"video frames .* need"):
        live_frames(ramp[:, 300:], 300, range(100, 110), fps=FPS)


def test_what_is_heard_comes_back_when_it_is_shown() -> None:
    view = SpeechView(context=40, lookahead=10)
    samples = babble(5.0, seed=2)
    made = listened(SpeechListener(tiny_speech_encoder(), view, FPS), samples, 8, SILENT)
    heard = np.concatenate([chunk.heard for chunk in made])
    assert np.array_equal(heard, clock(samples, view, SILENT)[: len(heard)])
    assert [len(chunk.heard) for chunk in made] == [CHUNK] * 8
    assert (
        made[1].talking
        and not listened(SpeechListener(tiny_speech_encoder(), view, FPS), samples[:0], 1)[
            0
        ].talking
    )


def test_barge_in_drops_what_is_not_shown_yet() -> None:
    """From there on the stream is one that never was told the rest."""
    view = SpeechView(context=40, lookahead=10)
    listener = SpeechListener(tiny_speech_encoder(), view, FPS)
    samples = babble(5.0, seed=2)
    speech = listener.begin()
    for chunk in range(3):
        listener.listen(speech, samples[chunk * CHUNK : (chunk + 1) * CHUNK], FRAMES)
    level = replace(speech.level)
    speech.clear()
    made = listener.listen(speech, samples[:0], FRAMES)
    assert not made.heard.any() and not made.talking
    other = listener.begin()
    said = samples[: 3 * CHUNK].copy()
    said[3 * CHUNK - view.lookahead * HOP :] = 0
    for chunk in range(3):
        listener.listen(other, said[chunk * CHUNK : (chunk + 1) * CHUNK], FRAMES)
    other.level = level
    wanted = listener.listen(other, samples[:0], FRAMES)
    torch.testing.assert_close(made.features, wanted.features, atol=1e-5, rtol=0)


def test_a_stream_of_any_length_keeps_as_much() -> None:
    view = SpeechView(context=60, lookahead=10)
    listener = SpeechListener(tiny_speech_encoder(), view, FPS)
    speech, sizes = listener.begin(SILENT), []
    samples = babble(1.0)[:CHUNK]
    for chunk in range(60):
        listener.listen(speech, samples[: CHUNK - SILENT * 640 * (chunk == 0)], FRAMES)
        sizes.append(sum(t.numel() * t.element_size() for t in speech.tensors().values()))
    assert len(set(sizes[4:])) == 1
    assert speech.frames.shape == (60, 32)


def test_a_restored_stream_goes_on_bit_for_bit() -> None:
    view = SpeechView(context=60, lookahead=10)
    listener = SpeechListener(tiny_speech_encoder(), view, FPS)
    samples = babble(5.0, seed=4)
    made = listened(listener, samples, 8)
    speech = listener.begin()
    for chunk in range(8):
        saved = {name: tensor.clone() for name, tensor in speech.tensors().items()}
        speech = LiveSpeech.load(saved, speech.metadata())
        spoken = listener.listen(speech, samples[chunk * CHUNK : (chunk + 1) * CHUNK], FRAMES)
        assert torch.equal(spoken.features, made[chunk].features)
        assert torch.equal(spoken.history, made[chunk].history)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 4000), min_size=1, max_size=30), st.integers(0, 3))
def test_packets_of_any_size_say_the_same(sizes: list[int], seed: int) -> None:
    """However samples arrive, a chunk is made of those that are its own: bit for bit."""
    listener = SpeechListener(ENCODER, SpeechView(context=40, lookahead=5), FPS)
    samples = babble(2.0, seed)
    wanted = listened(listener, samples, 3)
    speech, waiting, at, made = listener.begin(), samples[:0], 0, []
    for size in [*sizes, *[4000] * 8]:
        waiting = np.concatenate((waiting, samples[at : at + size]))
        at += size
        while len(waiting) >= CHUNK and len(made) < 3:
            made.append(listener.listen(speech, waiting[:CHUNK], FRAMES))
            waiting = waiting[CHUNK:]
    assert len(made) == 3
    for one, other in zip(made, wanted, strict=True):
        assert torch.equal(one.features, other.features)


def test_misfits_are_told() -> None:
    listener = SpeechListener(ENCODER, SpeechView(context=40, lookahead=5), FPS)
    with pytest.raises(ValueError, match="at most 7680 fit"):
        speech = listener.begin()
        listener.listen(speech, np.zeros(7681, np.int16), FRAMES)
    with pytest.raises(ValueError, match="at most 5760 fit"):
        listener.listen(listener.begin(SILENT), np.zeros(7680, np.int16), FRAMES)
    with pytest.raises(ValueError, match="context 0"):
        SpeechView(context=0)
    with pytest.raises(ValueError, match="looks back over 12"):
        SpeechListener(ENCODER, SpeechView(context=11), FPS)
    with pytest.raises(ValueError, match="16 frames a second"):
        SpeechListener(ENCODER, SpeechView(), 16)


def test_with_the_reach_of_the_convolution_ahead_it_is_near_to_the_whole_file() -> None:
    """1.28 s: what is left is attention's. The published live way is to encode each chunk alone."""
    chunks = range(6, 12)
    assert differences(400, 64, chunks) < 0.2
    off = spread = 0.0
    whole = ENCODER.attend(VOICE)
    for chunk in chunks:
        first = frames_in(chunk * CHUNK) + 1
        alone = ENCODER.attend(VOICE[first : first + frames_in(CHUNK)])
        made, _ = features_of_frames(to_video_rate(alone), fps=FPS, batch_frames=FRAMES)
        wanted = live_frames(whole, 0, range(chunk * FRAMES, (chunk + 1) * FRAMES), fps=FPS)
        off += float((made[:FRAMES] - wanted).square().mean())
        spread += float((wanted - wanted.mean(dim=0)).square().mean())
    assert (off / spread) ** 0.5 > 3 * differences(400, 10, chunks)
