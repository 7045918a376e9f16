"""Who watches a stream beside its client: what is encoded once for all, and who has to wait."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollcast.models.test_pattern import TestPattern
from rollcast.server.audience.audience import Audience
from rollcast.server.audience.channel import KEY_EVERY_S, MOST_CHUNKS, Channel, Format
from rollcast.server.audience.seat import KEY_AGAIN_S, MAX_MESSAGES, Coded, Seat
from rollcast.server.protocol.client_messages import Ack
from rollcast.server.protocol.errors import Capacity, Ended, SessionExpired, Timeout
from rollcast.server.protocol.packets import Flags, Kind, Packet, encode_packet
from rollcast.server.protocol.server_messages import State, Viewers
from rollcast.server.session.media import MediaChunk, VideoFrame

INFO = TestPattern().info
FRAME_US = 1e6 / INFO.fps
LEAD_US = 2.7 * INFO.chunk_us
FORMAT = Format("h264", "pcm")
QUIET = State(received=False, talking=False, paused=False, queued_audio_ms=0, pts_us=0.0)


def audience(most: int = 8) -> Audience:
    return Audience(INFO, most=most, lead_us=LEAD_US, kbps=500, idle_timeout_s=60.0)


def chunk(index: int) -> MediaChunk:
    return MediaChunk(
        index=index,
        first_seq=index * INFO.chunk_frames,
        fps=INFO.fps,
        talking=False,
        discontinuity=False,
        server_ms=0.0,
        frames=np.zeros((INFO.chunk_frames, 2, 2, 3), np.uint8),
        audio=np.zeros(INFO.chunk_samples, np.int16),
        sample_rate=INFO.sample_rate,
    )


def join(to: Audience, now_s: float = 0.0, address: str = "a") -> tuple[Channel, Seat]:
    channel = to.channel(FORMAT)
    return channel, to.join(channel, address, lambda: None, now_s)


def encode(channel: Channel, now_s: float) -> int:
    """What the encoder does with all that waits; how many key frames it was asked for."""
    keys = 0
    while (piece := channel.next_piece(now_s)) is not None:
        video = isinstance(piece, VideoFrame)
        key = video and channel.take_key_request()
        keys += key
        kind = Kind.VIDEO if video else Kind.AUDIO_OUT
        flags = Flags.KEY if key else Flags.NONE
        data = encode_packet(Packet(kind, flags, 0, piece.pts_us, 0, 0, 0, b"x"))
        channel.publish(piece, [data], now_s)
    return keys


def taken(seat: Seat) -> list[Coded]:
    """The media that it is sent."""
    found: list[Coded] = []
    while (item := seat.pop()) is not None:
        if isinstance(item, Coded):
            found.append(item)
    return found


def shown(seat: Seat, last: Coded) -> None:
    seat.ack(Ack(playhead_us=last.end_us, last_seq=last.seq))


def test_a_newcomer_begins_with_a_key_frame_and_has_all_that_follows() -> None:
    watched = audience()
    channel, seat = join(watched)
    for index in range(3):
        watched.show(chunk(index))
        encode(channel, index * 0.16)
    got = taken(seat)
    assert got[0].is_key and got[0].seq == 0
    assert [each.seq for each in got if each.is_video] == list(range(12))
    assert sum(not each.is_video for each in got) == 2, "not the sound from before its first frame"


def test_all_share_one_encoding_and_newcomers_share_key_frames() -> None:
    watched = audience()
    channel, first = join(watched)
    watched.show(chunk(0))
    assert encode(channel, 0.0) == 1
    others = [join(watched, 0.1)[1] for _ in range(5)]
    watched.show(chunk(1))
    assert encode(channel, 0.1) == 0, "too soon after the one before"
    watched.show(chunk(2))
    assert encode(channel, KEY_EVERY_S) == 1
    whole, *parts = [taken(seat) for seat in (first, *others)]
    assert all(part == whole[-len(part) :] and part[0].is_key for part in parts)


def test_what_is_made_together_leaves_together() -> None:
    """A viewer's connection is told once of it, and takes it, unless there is a word before."""
    watched, told = audience(), list[int]()
    channel = watched.channel(FORMAT)
    seat = watched.join(channel, "a", lambda: told.append(len(seat.packets)), 0.0)
    watched.show(chunk(0))
    encode(channel, 0.0)
    assert not told
    channel.let_go()
    assert told == [4], "four frames; their sound came before the first key frame"
    seat.sent(seat.packets[:3])
    assert [each.seq for each in seat.packets] == [3]
    seat.say(Viewers(count=1))
    assert not seat.packets and isinstance(seat.pop(), Viewers)
    seat.sent(seat.packets)
    channel.let_go()
    assert len(told) == 2 and not seat.packets
    # what it was sent is believed of it when it says so
    shown(seat, Coded(b"", 3, 4e6 / INFO.fps, True, False))
    assert seat.wants_key(0.0) is False


def test_other_formats_are_encoded_for_themselves() -> None:
    watched = audience()
    join(watched)
    silent = watched.channel(Format("jpeg", None))
    seat = watched.join(silent, "b", lambda: None, 0.0)
    watched.show(chunk(0))
    encode(silent, 0.0)
    assert all(each.is_video for each in taken(seat))


def test_who_acknowledges_nothing_is_cut_off_and_nobody_else_is() -> None:
    watched = audience()
    channel, slow = join(watched)
    _, good = join(watched)
    sent: list[Coded] = []
    frames = 0
    for index in range(25):
        watched.show(chunk(index))
        encode(channel, index * 0.16)
        sent += taken(slow)
        got = [each for each in taken(good) if each.is_video]
        frames += len(got)
        shown(good, got[-1])
    assert frames == 100
    assert sum(each.is_video for each in sent) * FRAME_US <= LEAD_US + 1e6 + FRAME_US
    assert (slow.cuts, good.cuts, watched.cuts) == (1, 0, 1)


def test_who_was_cut_off_goes_on_from_a_key_frame_once_it_has_shown_what_it_has() -> None:
    watched = audience()
    channel, slow = join(watched)
    sent: list[Coded] = []
    for index in range(25):
        watched.show(chunk(index))
        encode(channel, index * 0.16)
        sent += taken(slow)
    assert not slow.wants_key(4.0)
    shown(slow, [each for each in sent if each.is_video][-1])
    assert slow.wants_key(4.0)
    watched.show(chunk(25))
    assert encode(channel, 4.0) == 1
    again = taken(slow)
    assert again[0].is_key and again[0].seq == 100


def test_a_viewer_that_asks_for_keys_again_and_again_gets_few() -> None:
    watched = audience()
    channel, greedy = join(watched)
    keys = 0
    for index in range(50):
        greedy.ask_key()
        watched.show(chunk(index))
        keys += encode(channel, index * 0.16)
        taken(greedy)
    assert keys <= 50 * 0.16 / KEY_AGAIN_S + 2


def test_what_an_encoder_cannot_keep_up_with_is_left_out_before_it_is_encoded() -> None:
    watched = audience()
    channel, seat = join(watched)
    for index in range(10):
        watched.show(chunk(index))
    encode(channel, 0.0)
    got = [each.seq for each in taken(seat) if each.is_video]
    assert got == list(range(40))[-MOST_CHUNKS * INFO.chunk_frames :]
    assert watched.skipped_frames == 40 - len(got)
    watched.leave(channel, seat)
    assert watched.skipped_frames == 40 - len(got), "it is remembered"


def test_no_more_may_watch_than_there_are_seats() -> None:
    watched = audience(most=2)
    channel, seat = join(watched)
    join(watched)
    with pytest.raises(Capacity, match="2 watch"):
        join(watched)
    watched.leave(channel, seat)
    join(watched)
    with pytest.raises(Capacity, match="cannot be watched"):
        join(audience(most=0))


def test_a_channel_ends_with_its_last_viewer() -> None:
    watched = audience()
    channel, seat = join(watched)
    woken: list[bool] = []
    channel.wake = lambda: woken.append(True)
    watched.leave(channel, seat)
    assert woken
    assert watched.channel(FORMAT) is not channel


def test_all_are_told_how_many_watch_and_what_the_stream_does() -> None:
    watched = audience()
    _, seat = join(watched)
    assert watched.tick(QUIET, 0.0) == Viewers(count=1)
    assert watched.tick(QUIET, 0.1) is None
    assert [seat.pop(), seat.pop(), seat.pop()] == [QUIET, Viewers(count=1), None]
    paused = QUIET.model_copy(update={"paused": True, "pts_us": 5.0})
    watched.tick(paused, 0.2)
    watched.tick(paused.model_copy(update={"pts_us": 6.0}), 0.3)
    assert [seat.pop(), seat.pop()] == [paused, None]
    _, late = join(watched)
    assert late.pop() == paused


def test_who_says_nothing_is_sent_away_unless_the_server_was_deaf() -> None:
    watched = audience()
    _, seat = join(watched)
    watched.excuse(30.0)
    watched.tick(QUIET, 80.0)
    assert seat.ended is None
    watched.tick(QUIET, 90.1)
    assert isinstance(seat.ended, Timeout)


def test_withdrawn_links_send_their_viewers_away() -> None:
    watched = audience()
    _, seat = join(watched)
    watched.revoke()
    assert isinstance(seat.ended, Ended)
    assert watched.epoch == 1
    watched.end(SessionExpired("later"))
    assert isinstance(seat.ended, Ended), "the first reason counts"


def test_messages_to_who_reads_nothing_are_bounded() -> None:
    seat = Seat(LEAD_US, lambda: None, 0.0)
    for _ in range(10 * MAX_MESSAGES):
        seat.say(QUIET)
    assert seat.unsent_messages == MAX_MESSAGES
    assert seat.full


@given(st.lists(st.sampled_from(["chunk", "send", "ack", "lie", "key"]), max_size=120))
def test_whatever_a_viewer_does_it_decodes_from_a_key_frame_and_little_waits(
    events: list[str],
) -> None:
    watched = audience()
    channel, seat = join(watched)
    index, now_s = 0, 0.0
    got: list[Coded] = []
    waiting = 0
    for event in events:
        now_s += 0.16
        match event:
            case "chunk":
                watched.show(chunk(index))
                encode(channel, now_s)
                index += 1
            case "send":
                got += taken(seat)
            case "ack" if got:
                shown(seat, got[-1])
            case "lie":
                seat.ack(Ack(playhead_us=2.0**53, last_seq=2**32 - 1))
            case "key":
                seat.ask_key()
            case _:
                pass
        waiting = len(seat._media)  # pyright: ignore[reportPrivateUsage]
        assert waiting * FRAME_US <= 1.5 * (LEAD_US + 1e6 + INFO.chunk_us)
    frames = [each for each in got + taken(seat) if each.is_video]
    for one, other in zip([None, *frames], frames, strict=False):
        assert other.is_key or (one is not None and other.seq == one.seq + 1)
