"""Speech is cut into packets that count samples and keep every one of them."""

from __future__ import annotations

import numpy as np
import pytest

from rollcast.client.speech import SpeechFeed
from rollcast.client.wire import unpack


def test_pieces_of_any_length_stay_in_step_with_the_clock() -> None:
    feed = SpeechFeed(16_000)
    samples = np.arange(1000, dtype=np.int16)
    pieces = np.split(samples, [100, 780])
    read = [unpack(data) for piece in pieces for data in feed.packets(piece)]
    packets = [packet for packet in read if packet is not None]
    assert [packet.seq for packet in packets] == list(range(5))
    lengths = [len(packet.payload) // 2 for packet in packets]
    assert lengths == [100, 320, 320, 40, 220]
    starts = np.cumsum([0, *lengths[:-1]])
    assert [packet.pts_us for packet in packets] == [1e6 * start / 16_000 for start in starts]
    joined = np.frombuffer(b"".join(packet.payload for packet in packets), "<i2")
    assert np.array_equal(joined, samples)


@pytest.mark.parametrize("samples", [np.zeros(4, np.float32), np.zeros((2, 4), np.int16)])
def test_anything_but_int16_mono_is_refused_with_a_cure(samples: np.ndarray) -> None:
    with pytest.raises(ValueError, match="load_speech"):
        list(SpeechFeed(16_000).packets(samples))


def test_opus_is_made_of_whole_packets_and_the_rest_of_silence() -> None:
    feed = SpeechFeed(16_000, "opus")
    sizes = [len(list(feed.packets(np.zeros(count, np.int16)))) for count in (100, 219, 1, 700)]
    assert sizes == [0, 0, 1, 2]
    assert len(feed.rest()) == 1 and not feed.rest()


def test_opus_has_only_some_rates() -> None:
    with pytest.raises(ValueError, match="22050"):
        SpeechFeed(22_050, "opus")
