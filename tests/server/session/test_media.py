"""Chunks in pieces, the resume ring, and the outbox's order."""

from dataclasses import replace

import numpy as np

from rollcast.models.yuv_frames import YuvFrame, YuvFrames
from rollcast.server.protocol.server_messages import Applied, Pong, State
from rollcast.server.session.media import AudioPiece, ChunkRing, MediaChunk, VideoFrame
from rollcast.server.session.outbox import MAX_MESSAGES, Outbox


def chunk(index: int, *, talking: bool = False) -> MediaChunk:
    return MediaChunk(
        index=index,
        first_seq=4 * index,
        fps=25,
        talking=talking,
        discontinuity=False,
        server_ms=1.0,
        frames=np.zeros((4, 2, 2, 3), np.uint8),
        audio=np.arange(2560, dtype=np.int16),
        sample_rate=16_000,
    )


def test_planes_are_taken_apart_into_frames() -> None:
    planes = np.arange(4 * 6 * 4, dtype=np.uint8).reshape(4, 6, 4)
    coded = replace(chunk(0), frames=YuvFrames(planes, 4, 4, 4))
    frames = [piece for piece in coded.pieces(1, audio=False) if isinstance(piece, VideoFrame)]
    assert [frame.seq for frame in frames] == [2, 3] and coded.end_seq == 4
    pictures = [frame.picture for frame in frames]
    assert all(isinstance(each, YuvFrame) for each in pictures)
    assert [each.planes[0, 0] for each in pictures if isinstance(each, YuvFrame)] == [48, 72]


def test_a_chunk_is_its_sound_then_its_frames() -> None:
    audio, *frames = chunk(2).pieces(-1, audio=True)
    assert isinstance(audio, AudioPiece) and len(audio.samples) == 2560
    assert [frame.seq for frame in frames if isinstance(frame, VideoFrame)] == [8, 9, 10, 11]
    assert [frame.last_of_chunk for frame in frames if isinstance(frame, VideoFrame)] == [
        *(False, False, False, True)
    ]


def test_the_rest_of_a_chunk_has_the_rest_of_its_sound() -> None:
    audio, *frames = chunk(2).pieces(9, audio=True)
    assert isinstance(audio, AudioPiece)
    assert (audio.pts_us, audio.samples[0], len(audio.samples)) == (400_000, 1280, 1280)
    assert len(frames) == 2
    assert not list(chunk(2).pieces(11, audio=True))
    assert all(isinstance(piece, VideoFrame) for piece in chunk(0).pieces(-1, audio=False))


def test_the_ring_keeps_the_newest_chunks() -> None:
    ring = ChunkRing(min_frames=12)
    for index in range(5):
        ring.push(chunk(index))
    assert ring.frames == 12
    assert [each.index for each in ring.after(-1)] == [2, 3, 4]
    assert [each.index for each in ring.after(14)] == [3, 4]
    assert [each.index for each in ring.after(15)] == [4]
    assert not ring.after(19)


def test_the_ring_keeps_enough_frames_whatever_the_chunks_have() -> None:
    ring, seq = ChunkRing(min_frames=20), 0
    for index, count in enumerate([9, 12, 12, 9, 12]):
        frames = np.zeros((count, 2, 2, 3), np.uint8)
        ring.push(replace(chunk(index), first_seq=seq, frames=frames))
        seq += count
    assert [len(each.frames) for each in ring.after(-1)] == [9, 12]
    assert [each.first_seq for each in ring.after(41)] == [42]


def test_a_chunk_without_sound_is_its_frames() -> None:
    silent = replace(chunk(0), audio=np.zeros(0, np.int16))
    assert all(isinstance(piece, VideoFrame) for piece in silent.pieces(-1, audio=True))


def test_muting_replaces_chunks_in_place() -> None:
    ring = ChunkRing(min_frames=12)
    for index in range(3):
        ring.push(chunk(index, talking=True))
    ring.mute_from(160_000)
    kept = ring.after(-1)
    assert [each.index for each in kept] == [0, 1, 2]
    assert [bool(each.audio.any()) for each in kept] == [True, False, False]
    assert ring.talking_at(10) and not ring.talking_at(200_000)
    assert not ring.talking_at(9e9)


def test_messages_overtake_media() -> None:
    outbox = Outbox()
    outbox.show(chunk(0).pieces(-1, audio=True))
    pong = Pong(t_ms=1, server_ms=2)
    outbox.say(pong)
    assert outbox.pop() is pong
    assert isinstance(outbox.pop(), AudioPiece)
    assert outbox.frames == 4


def test_waiting_sound_can_be_silenced() -> None:
    outbox = Outbox()
    outbox.show(chunk(0).pieces(-1, audio=True))
    outbox.mute()
    audio = outbox.pop()
    assert isinstance(audio, AudioPiece)
    assert audio.discontinuity and not audio.samples.any()


def test_the_outbox_says_when_it_is_full() -> None:
    outbox = Outbox()
    pong = Pong(t_ms=1, server_ms=2)
    assert all(outbox.say(pong) for _ in range(MAX_MESSAGES))
    assert not outbox.say(pong)


def test_only_answers_outlive_a_connection() -> None:
    outbox = Outbox()
    answer = Applied(event_id="e", chunk=0, pts_us=0)
    outbox.say(
        State(received=False, talking=False, paused=False, queued_audio_ms=0, scene="s", pts_us=0)
    )
    outbox.say(answer)
    outbox.show(chunk(0).pieces(-1, audio=True))
    outbox.drop_connection()
    assert [outbox.pop(), outbox.pop()] == [answer, None]
