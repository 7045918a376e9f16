"""Packets become frames and speech once each, and a lost reference asks for a key frame."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg

from rollcast.client.messages import SessionReady
from rollcast.client.receiver import ASK_KEY_EVERY_S, Receiver
from rollcast.client.shown import Audio, Frame
from rollcast.client.wire import Flags, Kind, Packet

READY = SessionReady(
    session_id="s",
    resume_token="t",
    model="m",
    prompt="",
    seed=0,
    has_picture=False,
    has_image=False,
    width=16,
    height=16,
    fps=25,
    chunk_frames=4,
    codec="jpeg",
    codec_string="jpeg",
    generation=0,
    next_seq=0,
    resumed=False,
    grace_s=30.0,
)
PICTURE = simplejpeg.encode_jpeg(np.full((16, 16, 3), 128, np.uint8))


def packet(kind: Kind, seq: int, payload: bytes, flags: Flags = Flags.KEY) -> Packet:
    return Packet(kind, flags, seq, seq * 4e4, seq // 4, 0, 12.5, payload)


async def test_fields_arrive() -> None:
    flags = Flags.KEY | Flags.DISCONTINUITY | Flags.LAST_OF_CHUNK
    frame = await Receiver(READY, True).media(packet(Kind.VIDEO, 7, PICTURE, flags), 3.0)
    assert isinstance(frame, Frame)
    assert (frame.seq, frame.pts_us, frame.chunk, frame.server_ms) == (7, 28e4, 1, 12.5)
    assert (frame.is_key, frame.is_discontinuous, frame.is_last_of_chunk) == (True, True, True)
    assert (frame.arrived_s, frame.bytes) == (3.0, len(PICTURE))
    assert frame.image.shape == (16, 16, 3)


@pytest.mark.parametrize("decode", [True, False])
async def test_what_comes_again_after_a_resume_is_given_once(decode: bool) -> None:
    receiver = Receiver(READY, decode)
    given = [await receiver.media(packet(Kind.VIDEO, n, PICTURE), 0.0) for n in (0, 1, 1, 0, 2)]
    assert [media.seq for media in given if media is not None] == [0, 1, 2]
    assert receiver.last_seq == 2
    sound = np.arange(4, dtype="<i2").tobytes()
    heard = [await receiver.media(packet(Kind.AUDIO_OUT, n, sound), 0.0) for n in (0, 0, 1)]
    assert [media.seq for media in heard if media is not None] == [0, 1]
    assert isinstance(heard[0], Audio)
    assert heard[0].samples.tolist() == [0, 1, 2, 3]


async def test_encoded_frames_are_given_as_they_came() -> None:
    receiver = Receiver(READY, "encoded")
    frame = await receiver.media(packet(Kind.VIDEO, 0, b"not a picture"), 0.0)
    assert isinstance(frame, Frame)
    assert (frame.data, frame.pixels) == (b"not a picture", None)
    kept = await Receiver(READY, False).media(packet(Kind.VIDEO, 0, PICTURE), 0.0)
    assert isinstance(kept, Frame)
    assert kept.data == b""


async def test_a_key_frame_is_asked_for_once_in_a_while() -> None:
    receiver = Receiver(READY, True)
    assert not receiver.should_ask_key(0.0), "the first one comes by itself"
    await receiver.media(packet(Kind.VIDEO, 0, PICTURE), 0.0)
    assert not receiver.should_ask_key(0.0)
    assert await receiver.media(packet(Kind.VIDEO, 1, b"broken"), 0.0) is None
    assert receiver.should_ask_key(1.0)
    assert not receiver.should_ask_key(1.0 + ASK_KEY_EVERY_S / 2)
    assert receiver.should_ask_key(1.0 + ASK_KEY_EVERY_S)
    await receiver.media(packet(Kind.VIDEO, 2, PICTURE), 0.0)
    assert not receiver.should_ask_key(9.0)
