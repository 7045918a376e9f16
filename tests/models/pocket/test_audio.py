"""Live speech features: streaming equals the whole file, and nothing sees too far ahead."""

import numpy as np
import pytest
import torch

from rollcast.models.pocket.audio import (
    CHUNK_FRAMES,
    CHUNK_SAMPLES,
    FRAME_SAMPLES,
    FUTURE_CHUNKS,
    PAST_CHUNKS,
    SpeechView,
    VisemeNet,
    log_mel,
    to_float,
)


def _speech(chunks: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(chunks * CHUNK_SAMPLES) * 3000).astype(np.int16)


@pytest.fixture
def net() -> VisemeNet:
    torch.manual_seed(0)
    return VisemeNet().eval()


@torch.inference_mode()
def test_chunks_give_what_the_whole_file_gives(net: VisemeNet) -> None:
    speech = _speech(9, seed=1)
    silence = np.zeros(CHUNK_SAMPLES, np.int16)
    padded = np.concatenate([*[silence] * PAST_CHUNKS, speech, *[silence] * FUTURE_CHUNKS])
    whole = net(to_float(padded))[0]

    view, streamed, heard = SpeechView(), [], []
    for k in range(9 + FUTURE_CHUNKS):
        view.push(speech[k * CHUNK_SAMPLES : (k + 1) * CHUNK_SAMPLES])
        if k >= FUTURE_CHUNKS:
            streamed.append(view.visemes(net))
            heard.append(view.current)

    # only the order of float32 sums differs
    torch.testing.assert_close(torch.cat(streamed), whole, atol=1e-5, rtol=0)
    assert np.array_equal(np.concatenate(heard), speech)


@torch.inference_mode()
def test_look_ahead_is_one_chunk(net: VisemeNet) -> None:
    view = SpeechView()
    for k in range(4):
        view.push(_speech(1, seed=k))
    before = view.visemes(net)
    view.samples[-1] = 20_000
    assert torch.equal(before[0], view.visemes(net)[0])
    view.samples[-CHUNK_SAMPLES:] = 0
    assert not torch.equal(before, view.visemes(net))


def test_mel_rows_do_not_depend_on_where_the_view_begins() -> None:
    speech = to_float(_speech(2, seed=3))
    later = speech[:, FRAME_SAMPLES:]
    torch.testing.assert_close(log_mel(speech)[:, 4:], log_mel(later), atol=1e-5, rtol=0)


def test_short_audio_is_padded_with_silence_and_long_is_refused() -> None:
    view = SpeechView()
    view.push(np.full(10, 7, np.int16))
    assert view.samples[-CHUNK_SAMPLES:][:10].tolist() == [7] * 10
    assert not view.samples[-CHUNK_SAMPLES + 10 :].any()
    with pytest.raises(ValueError, match="at most 2560 fit"):
        view.push(np.zeros(CHUNK_SAMPLES + 1, np.int16))


def test_barge_in_forgets_only_what_was_not_shown() -> None:
    view = SpeechView()
    first, second = _speech(1, seed=1), _speech(1, seed=2)
    view.push(first)
    view.push(second)
    view.clear_future()
    assert np.array_equal(view.current, first)
    view.push(np.zeros(0, np.int16))
    assert not view.current.any()


def test_network_covers_one_chunk_per_view(net: VisemeNet) -> None:
    assert SpeechView().visemes(net).shape == (CHUNK_FRAMES, 16)
